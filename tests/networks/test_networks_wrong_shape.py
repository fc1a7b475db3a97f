"""Inputs of a wrong shape: the error names the layer, what it takes, and the shape of the example."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from szilard import SzilardError, bayes, deploy


def images():
    torch.manual_seed(0)
    parts = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3)
    return nn.Sequential(*parts)


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.head = nn.LayerNorm(6), nn.Linear(6, 2)

    def forward(self, x):
        return self.head(self.norm(x)).mean(1)


class Sevens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(7, 2)

    def forward(self, x):
        return self.head(x.view(2, 7))


@pytest.mark.parametrize(
    ("network", "shape", "sentence"),
    [
        (
            images,
            (2, 1, 9, 9),
            r"layer '4', a linear layer, takes 144 features and was given shape \[2, 196\]",
        ),
        (images, (2, 3, 8, 8), r"layer '0', a convolution, takes inputs \[B, 1, H, W\]"),
        (
            images,
            (2, 64),
            r"layer '0', a convolution, takes inputs \[B, 1, H, W\] and was given shape \[2, 64\]",
        ),
        (Tokens, (2, 5, 7), r"layer 'norm', a layer normalisation, takes inputs that end in \[6\]"),
        (
            lambda: nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2)),
            (2, 4),
            "layer '0', a batch normal.* takes 3 ch",
        ),
        (Sevens, (2, 6), r"does not run on inputs of shape \[2, 6\]: shape '\[2, 7\]' is invalid"),
    ],
)
@pytest.mark.parametrize("run", [bayes.propagate, deploy.compile])
def test_the_layer_is_named(network, shape, sentence, run):
    found = bayes.bayesianize(network()).eval()
    with pytest.raises(SzilardError, match=sentence) as error:
        run(found, torch.zeros(shape))
    assert f"inputs of shape {list(shape)}" in str(error.value)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in found.modules())


def test_other_errors_stay():
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(3, 3)

        def forward(self, x):
            return self.a(x).missing

    with pytest.raises(AttributeError, match="missing"):
        bayes.propagate(bayes.bayesianize(Own()).eval(), torch.zeros(2, 3))
    with pytest.raises(SzilardError, match="NumPy array; give a tensor"):
        bayes.propagate(bayes.bayesianize(Own()).eval(), np.zeros((2, 3), np.float32))
