"""The figures of benchmarks/few_labels.py follow from its rows."""

from __future__ import annotations

import pytest
import torch

import few_labels


def rows(target, nll, seeds=2):
    return [
        {"target": target, "seed": seed, "trained": name, "nll": nll[name] + 0.1 * seed, "accuracy": 0.5,
         "chosen": "prior with 2 σ, T 0.01"}
        for seed in reversed(range(seeds))
        for name in few_labels.ROWS
    ]  # fmt: skip


def test_figures_are_differences_of_the_same_seeds():
    nll = dict(zip(few_labels.ROWS, (0.5, 1.5, 2.0, 1.25, 0.75, 0.6), strict=True))
    found = few_labels.figures(rows("digits20", nll))
    assert found["digits20_prior_minus_fan_in_nll"] == pytest.approx(-1.0)
    assert found["digits20_prior_minus_fan_in_own_temperature_nll"] == pytest.approx(-1.5)
    assert found["digits20_prior_minus_fan_in_best_temperature_nll"] == pytest.approx(-0.75)
    assert found["digits20_prior_minus_finetune_nll"] == pytest.approx(-0.25)
    assert found["digits20_prior_minus_finetune_best_temperature_nll"] == pytest.approx(-0.1)
    assert found["kmnist100_prior_minus_fan_in_nll"] is None
    assert few_labels.body(rows("digits20", nll))[0] == ["digits20", "prior", "0.550 ±0.050", "50.0 ±0.0"]


def test_a_target_has_balanced_labels_and_no_image_twice():
    x, y = few_labels.images("digits", "")
    assert x.shape == (1797, 1, 28, 28)
    assert 0 <= float(x.min()) < float(x.max()) <= 1
    assert not bool(x[:, :, :4].any())  # the margin
    data = few_labels.target_data("digits20", torch.arange(len(y)).view(-1, 1, 1, 1).float(), y, 20, seed=3)
    assert torch.equal(torch.bincount(data.train.y), torch.full((10,), 2))
    used = torch.cat([part.x.flatten() for part in (data.train, data.valid, data.test)])
    assert len(used) == len(used.unique()) == 20 + few_labels.VALID + few_labels.MOST_TEST
