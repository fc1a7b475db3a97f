"""Phases of several chains in one run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from szilard.errors import SzilardError
from szilard.sampling.chains import Chains


@given(st.integers(1, 5), st.integers(1, 6), st.floats(0, 0.9), st.floats(0, 0.9), st.integers(1, 400))
def test_a_run_that_is_not_refused_keeps_all_draws_while_chains_sample(chains, draws, descent, burn, total):
    phases = Chains(chains, draws, descent, burn)
    try:
        phases.check(total)
    except SzilardError:
        assert total < 40 * chains * draws / (1 - descent) / (1 - burn)
        return
    kept = [step for step in range(total + 1) if phases.keeps(step, total)]
    assert len(kept) == phases.count
    assert kept[-1] == total
    for number, step in enumerate(kept):
        place = phases.place(step - 1, total)  # of the step that led there
        assert place.chain == number // draws
        assert not place.descends
    assert [phases.starts(step, total) for step in range(total) if phases.starts(step, total)] == list(
        range(1, chains)
    )


def test_phases_of_two_chains():
    phases = Chains(2, 3, 0.2, 0.25)
    assert [phases.bounds(chain, 100) for chain in (0, 1)] == [(0, 10, 20, 50), (50, 60, 70, 100)]
    assert [step for step in range(101) if phases.keeps(step, 100)] == [30, 40, 50, 80, 90, 100]
    assert phases.starts(50, 100) == 1
    assert [phases.place(step, 100).done for step in (0, 5, 10, 30, 49)] == [0, 0.5, 0, 0.5, 0.975]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"chains": 0}, "chains"),
        ({"draws": 0}, "draws"),
        ({"descent": 1.0}, "descent"),
        ({"burn": -0.1}, "burn"),
    ],
)
def test_values_out_of_range_are_refused(given, message):
    with pytest.raises(SzilardError, match=message):
        Chains(**given)


def test_too_few_steps_are_refused():
    with pytest.raises(SzilardError, match="20 steps are too few for 8 draws of each of 4 chains"):
        Chains().check(20)
