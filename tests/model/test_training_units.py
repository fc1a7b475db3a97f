"""The units of inputs and targets of a user's network are inferred from its predictions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from szilard.data import load
from szilard.model.units import best_units


class Exact(nn.Module):
    """y = 2 a + 40 of raw features; ``standard_x`` and ``standard_y`` choose its units."""

    def __init__(self, data, standard_x: bool, standard_y: bool) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(2.0))
        self.data, self.standard_x, self.standard_y = data, standard_x, standard_y

    def forward(self, x):
        raw = self.data.raw(x).float() if self.standard_x else x
        y = self.gain * raw[:, :1] + 40
        return (y - self.data.target_shift) / self.data.target_scale if self.standard_y else y


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    x = (3 * rng.normal(size=(400, 4)) + 5).astype(np.float32)
    np.savez(tmp_path / "set.npz", x=x, y=(2 * x[:, 0] + 40).astype(np.float32))
    return load(str(tmp_path / "set.npz"))


@pytest.mark.parametrize("standard_x", [True, False])
@pytest.mark.parametrize("standard_y", [True, False])
def test_the_units_with_the_best_score_are_chosen(data, standard_x, standard_y):
    network = Exact(data, standard_x, standard_y).eval()
    chosen = best_units(network, data)
    found, text = chosen.what, chosen.text
    with torch.no_grad():
        assert torch.allclose(network(found.test.x)[:, 0], found.test.y, atol=1e-3)
    assert text.startswith(
        "inputs are standardised with the training part"
        if standard_x
        else "inputs are taken as they are in the data"
    )
    assert ("targets are standardised" in text.split(", because")[0]) == standard_y
    assert chosen.score > 0.999
    assert not chosen.other_units


def test_inputs_with_a_given_normalisation_are_unchanged(data):
    chosen = best_units(Exact(data, False, False).eval(), data, given=True)
    assert torch.equal(chosen.what.test.x, data.test.x)
    assert "--mean and --std" in chosen.text


def test_retargeting_is_inverted(data):
    raw = data.retargeted(0.0, 1.0)
    assert torch.allclose(raw.test.y, 2 * data.raw(data.test.x)[:, 0].float() + 40, atol=1e-3)
    again = raw.retargeted(data.target_shift, data.target_scale)
    assert torch.allclose(again.test.y, data.test.y, atol=1e-5)
