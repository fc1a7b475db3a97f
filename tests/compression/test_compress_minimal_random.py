"""Minimal random coding: a sample of the posterior costs about its KL divergence in bits."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

import szilard
from szilard import bayes, file
from szilard.bayes import weights
from szilard.compression import CanonicalBatchNorm, MinimalRandom, Quantise, QuantiseVectors
from szilard.compression.passes.minimal_random import POINT, encode
from szilard.errors import SzilardError


def posterior(count: int = 2000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard deviations with about half a nat of KL an entry, unevenly distributed."""
    generator = np.random.default_rng(seed)
    return 0.05 * generator.normal(size=count), 0.1 * np.exp(0.4 * generator.normal(size=count))


def test_the_coded_sample_follows_the_posterior():
    """Standardised by q it has mean 0 and variance 1, unlike samples of the prior."""
    mean, std = posterior()
    coded = encode("w", mean, std, bits=12, slack=3.0)
    z = (coded.record.value() - mean) / std
    prior = (encode("w", 0 * mean, 0 * std + 0.1, bits=8).record.value() - mean) / std
    assert abs(z.mean()) < 0.08
    assert z.var() == pytest.approx(1, abs=0.12)
    assert prior.var() > 1.4
    wide, narrow = std > np.quantile(std, 0.75), std < np.quantile(std, 0.25)
    assert (z * std)[wide].std() > 1.5 * (z * std)[narrow].std()


def test_the_bits_equal_the_kl_divergence():
    mean, std = posterior()
    coded = encode("w", mean, std, bits=12)
    size = len(file.dumps(file.Document([coded.record]))) - len(file.dumps(file.Document([])))
    nats = coded.divergence.sum()
    assert nats / math.log(2) / 8 == pytest.approx(size, rel=0.2)
    assert coded.divergence.mean() <= 12 * math.log(2)
    # Computed directly: the KL divergence from the best Gaussian prior of the tensor.
    by_hand = 0.5 * len(mean) * math.log((mean**2 + std**2).mean()) - np.log(std).sum()
    assert nats == pytest.approx(by_hand, rel=1e-3)


def test_more_slack_samples_more_accurately_for_more_bytes():
    """The accuracy is measured by how close the variance of the standardised sample is to 1."""
    mean, std = posterior(1200)
    tight, loose = (encode("w", mean, std / 3, bits=10, slack=slack) for slack in (0.0, 4.0))
    assert loose.record.size < tight.record.size
    error = [((one.record.value() - mean) / (std / 3)).var() - 1 for one in (tight, loose)]
    assert error[0] > error[1] > -0.1


def test_the_seed_determines_the_sample():
    mean, std = posterior(300)
    one, same, other = (encode("w", mean, std, bits=8, seed=seed).record for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.indices, same.indices)
    assert not np.array_equal(one.value(), other.value())


def test_entries_with_more_divergence_than_a_block_are_counted():
    mean, std = posterior(100)
    std[:50] = 1e-6
    assert encode("w", mean, std, bits=8).overfull > 0.3
    assert encode("w", 0 * mean, 0 * std + 1, bits=8).overfull == 0


@pytest.mark.parametrize(
    ("mean", "std", "bits", "sentence"),
    [
        (np.zeros(3), np.ones(3), 7, "from 8 to 20"),
        (np.zeros(0), np.ones(0), 8, "no posterior"),
        (np.zeros(3), np.zeros(3), 8, "no posterior"),
        (np.full(3, np.nan), np.ones(3), 8, "no posterior"),
    ],
)
def test_invalid_posteriors_are_refused(mean, std, bits, sentence):
    with pytest.raises(SzilardError, match=sentence):
        encode("w", mean, std, bits=bits)


def test_minimal_random_as_a_pass(tmp_path):
    torch.manual_seed(0)
    network = bayes.bayesianize(
        nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.BatchNorm1d(30), nn.Linear(30, 4)), density=0.5
    ).eval()
    with torch.no_grad():
        for weight in weights(network).values():
            weight.mean.normal_(0, 0.3)
            weight.log_std.fill_(-2)
    passes = [CanonicalBatchNorm(), MinimalRandom(bits=8), QuantiseVectors(Quantise(curvature={}))]
    made = szilard.compress(network, lam=1e-8, passes=passes)
    kinds = {entry.name: entry.kind for entry in made.ledger.entries}
    made.save(tmp_path / "net.szd")
    loaded = szilard.load(tmp_path / "net.szd")
    copy.deepcopy(network).load_state_dict(loaded, strict=True)
    for name, weight in weights(made.network).items():
        assert kinds[f"{name}.weight.mean"] == "random"
        assert kinds[f"{name}.weight.log_std"] == "constant"
        assert torch.equal(loaded[f"{name}.weight.mean"], weight.mean)
        original = weights(network)[name]
        assert 0 < (weight.mean - original.mean).square().mean() < 3 * original.std.square().mean()
        assert bool((weight.log_std == POINT).all())
    assert len(made.data) < len(szilard.compress(network).data)
    assert any("larger divergence than 8 bits" in note for note in made.notes)
