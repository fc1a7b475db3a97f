"""Turns of several functions: who runs when, and what is made of the times."""

from __future__ import annotations

import pytest
from fake_clock import FakeClock

from szilard.cost.interleave import Summary, Timed, interleave, rounds


def test_turns_alternate_and_warm_up_is_not_counted():
    calls: list[str] = []
    found = interleave(
        {
            "a": Timed(lambda: calls.append("a")),
            "b": Timed(lambda: calls.append("b"), 10, False),
        },
        budget=0.0,
        least_rounds=2,
        turn=0.0,
    )
    assert calls == ["a", "a", "b"] * 3
    assert found["a"].rounds == found["b"].rounds == 2


def test_times_are_per_step_and_of_the_clock():
    clock = FakeClock()
    found = interleave(
        {"ten": Timed(clock.taking(0.05), steps=10), "one": Timed(clock.taking(0.002))},
        budget=1.0,
        turn=0.02,
        clock=clock,
    )
    assert found["ten"].median == pytest.approx(0.005)
    assert found["one"].median == pytest.approx(0.002)
    # A round lasts 0.05 + 0.05 warm and 0.02 + 0.002 warm; the first is not counted, and the budget ends the rest.
    assert found["one"].rounds == 8


def test_a_turn_keeps_every_reading_and_the_processor_seconds():
    clock = FakeClock()
    turn = Timed(clock.taking(0.001, 0.003, share=0.5), warm=False).turn(0.008, clock=clock)
    assert turn.readings == pytest.approx([0.001, 0.003, 0.001, 0.003])
    assert (turn.wall, turn.processor, turn.steps) == (pytest.approx(0.008), pytest.approx(0.004), 4)
    assert turn.mean == pytest.approx(0.002)


def test_long_steps_are_not_warmed_up():
    clock = FakeClock()
    calls = []
    long = clock.taking(0.2)
    run = Timed(lambda: (calls.append(clock.now), long()))
    rounds({"long": run}, budget=0.0, least_rounds=2, clock=clock)
    assert len(calls) == 2 + 1 + 1  # the first round has a warm-up, because its length was not known yet


def test_percentiles():
    found = Summary.of([float(n) for n in range(11)][::-1])
    assert (found.p10, found.low, found.median, found.high, found.p90) == pytest.approx((1, 2.5, 5, 7.5, 9))
    assert Summary.of([3.0]) == Summary(3.0, 3.0, 3.0, 1, 3.0, 3.0)
