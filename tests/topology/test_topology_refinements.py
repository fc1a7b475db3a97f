"""Phases of a run that collects several networks."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from szilard.errors import SzilardError
from szilard.topology import Refinements


def test_the_published_schedule():
    """450 epochs, 150 of exploration and three refinements of 100."""
    made = Refinements(50, 0.5, 1.0, 0.5, members=3, exploration=1 / 3)
    assert made.starts(450) == [150, 250, 350, 450]
    assert {step: made.fraction_at(step, 450) for step in range(451) if made.fraction_at(step, 450)} == {
        50: 0.5, 100: 0.5, 150: 0.5, 200: 0.5, 250: 0.8, 300: 0.5, 350: 0.8, 400: 0.5,
    }  # fmt: skip
    assert [step for step in range(451) if made.ends(step, 450)] == [250, 350, 450]
    assert [made.progress(step, 450) for step in (149, 150, 249, 250, 450)] == [None, 0, 0.99, 0, 1]
    assert [step for step in range(450) if made.collects(step, 450, 1)] == list(range(49, 400, 50))


@given(
    st.integers(1, 5), st.floats(0, 0.9), st.integers(1, 400), st.integers(1, 20), st.floats(0, 1), st.integers(1, 4)
)  # fmt: skip
@settings(max_examples=60)
def test_a_checked_schedule_has_a_step_in_each_phase(members, exploration, total, every, end, batches):
    made = Refinements(every, 0.4, end, 0.1, members=members, exploration=exploration)
    try:
        made.check(total)
    except SzilardError:
        assert total * (1 - exploration) < 2 * members
        return
    starts = made.starts(total)
    assert len(starts) == members + 1
    assert starts[-1] == total
    assert sum(made.ends(step, total) for step in range(1, total + 1)) == members
    moves = {step for step in range(total + 1) if made.fraction_at(step, total)}
    assert total not in moves
    heard = {step for step in range(total) if made.collects(step, total, batches)}
    assert heard == {step - back for step in moves for back in range(1, batches + 1) if step - back >= 0}
