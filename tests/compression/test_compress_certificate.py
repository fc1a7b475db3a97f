"""Generalisation bounds from the length of a file."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import szilard
from szilard.compression.generalization_bound import bernoulli_kl, certificate, inverse_kl
from szilard.errors import SzilardError


def test_known_answers():
    """Computed by hand: 1520 bytes with 0.5 % errors of 60 000; and no errors, where 1 - e = exp(-budget) exactly."""
    found = certificate(12_160, 300, 60_000)
    assert 0.150 < found.kl_bound < 0.1515
    assert found.occam_bound == pytest.approx(
        0.005 + math.sqrt((12_160 * math.log(2) + math.log(20)) / 120_000)
    )
    none = certificate(800, 0, 10_000, delta=0.01)
    budget = (800 * math.log(2) + math.log(200 / 0.01)) / 10_000
    assert none.kl_bound == pytest.approx(1 - math.exp(-budget), rel=1e-9)


def test_a_long_file_gives_a_vacuous_bound():
    found = certificate(8_000_000, 600, 60_000)
    assert 0.99 < found.kl_bound <= 1
    assert found.occam_bound == 1
    assert certificate(0, 7, 7).kl_bound == 1


@given(st.floats(0, 1), st.floats(1e-6, 5))
def test_inverse_kl_inverts_bernoulli_kl(p, budget):
    q = inverse_kl(p, budget)
    assert p <= q <= 1
    assert bernoulli_kl(p, max(p, q - 1e-9)) <= budget * (1 + 1e-6)
    if q < 1 - 1e-9:
        assert bernoulli_kl(p, q + 1e-9) >= budget * (1 - 1e-6)


@given(st.integers(0, 10**6), st.integers(1, 10**6), st.floats(0, 1), st.floats(1e-6, 0.5))
def test_bounds_are_valid_and_monotone(bits, examples, share, delta):
    """A bound is never below the training error, and grows with the bits, the errors and the confidence."""
    errors = int(share * examples)
    found = certificate(bits, errors, examples, delta)
    for bound in (found.kl_bound, found.occam_bound):
        assert errors / examples <= bound <= 1
    worse = certificate(bits + 8, min(errors + 1, examples), examples, delta / 2)
    assert worse.kl_bound >= found.kl_bound - 1e-12
    assert worse.occam_bound >= found.occam_bound


@pytest.mark.parametrize(("errors", "examples", "delta"), [(-1, 10, 0.1), (11, 10, 0.1), (0, 0, 0.1)])
def test_impossible_counts_are_refused(errors, examples, delta):
    with pytest.raises(SzilardError, match="count both over the training set"):
        certificate(100, errors, examples, delta)


@pytest.mark.parametrize("delta", [0.0, 1.0, math.nan])
def test_impossible_delta_is_refused(delta):
    with pytest.raises(SzilardError, match="delta must be a probability"):
        certificate(100, 0, 10, delta)


def test_the_certificate_of_a_compressed_network_states_its_assumptions():
    torch.manual_seed(0)
    made = szilard.compress(nn.Linear(4, 2), lam=1e-4)
    found = made.certificate(errors=3, n=1000, delta=0.1)
    assert found.bits == 8 * len(made.data)
    assert found.train_error == 0.003
    for assumption in found.assumptions:
        assert assumption in str(found)
    assert "probability 0.9 " in str(found)
