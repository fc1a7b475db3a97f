"""The search for λ, on functions with a known solution."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from szilard.compression.search import best, largest_allowed


@settings(deadline=None)
@given(st.floats(-12, 12), st.floats(0.3, 3))
def test_the_limit_is_found_within_half_an_octave(octave, slope):
    limit = 2.0**octave
    trials = largest_allowed(lambda lam: (slope * math.log2(lam / limit), lam), start=1.0, trials=12)
    found = best(trials)
    assert found is not None
    assert limit / 2**0.5 <= found.lam <= limit * (1 + 1e-9)
    assert len(trials) <= 12


def test_a_function_that_is_nearly_flat_and_then_steep():
    trials = largest_allowed(lambda lam: (lam**3 - 0.005, None), start=1e-3, trials=12)
    assert best(trials).lam == pytest.approx(0.005 ** (1 / 3), rel=0.3)


def test_nothing_is_allowed():
    trials = largest_allowed(lambda lam: (1.0, None), start=1.0, trials=20)
    assert best(trials) is None
    assert len(trials) < 20  # it stops early, far from the start


def test_everything_is_allowed():
    trials = largest_allowed(lambda lam: (-1.0, None), start=1.0, trials=20)
    assert best(trials).lam > 1e3


def test_nan_is_not_allowed():
    trials = largest_allowed(lambda lam: (math.nan if lam > 4 else -1.0, None), start=1.0, trials=10)
    assert best(trials).lam <= 4
