"""The search for how fine a base should be."""

from __future__ import annotations

import numpy as np
import pytest

from szilard.codec import base, base_search
from szilard.codec.lattice import UNITS
from szilard.codec.layout import Layout

LAYOUT = Layout((2, 24, 36), 0, True)


def points(seed=0):
    r = np.random.default_rng(seed)
    grid = np.arange(36) / 36
    rows = np.cumsum(r.normal(size=(2, 24, 1)), 1)
    return (
        np.rint(UNITS * 40 * (rows + np.cos(2 * np.pi * grid) + 0.01 * r.normal(size=(2, 24, 36))))
        .astype(np.int64)
        .reshape(2, -1)
    )


def entropy(rest):
    """Bits of a lattice whose values are independent."""
    count = np.unique(rest // (2 * UNITS), return_counts=True)[1]
    return float((count * np.log2(rest.size / count)).sum())


def test_found_base_is_shorter_than_none_and_its_neighbours():
    given = points()
    found = base_search.search(given, LAYOUT, None, entropy)
    fitted = base.fit(given, LAYOUT)

    def bits(noise):
        data = fitted.encode(noise * UNITS)
        return 8 * len(data) + entropy(given - base.synthesise(data, LAYOUT))

    assert found > 0
    assert bits(found) < 0.9 * entropy(given)
    assert bits(found) <= min(bits(found * 2**0.5), bits(found / 2**0.5))


def test_lattice_that_costs_nothing_has_no_base():
    assert base_search.search(points(), LAYOUT, None, lambda rest: 0.0) == 0


def test_few_estimates_are_made():
    calls = []
    base_search.search(points(), LAYOUT, None, lambda rest: calls.append(1) or 1e9 * len(calls))
    assert len(calls) <= 6


def test_search_ends_if_finer_is_always_better():
    found = base_search.search(points(), LAYOUT, None, lambda rest: 1e9 * float(np.abs(rest).mean()))
    assert base_search.LEAST / 2 < found <= base_search.LEAST * 2


@pytest.mark.parametrize("coded", [True, False])
def test_points_without_bins_do_not_matter(coded):
    given = points()
    marks = np.full(given.shape, coded)
    assert (base_search.search(given, LAYOUT, marks, entropy) > 0) == coded
