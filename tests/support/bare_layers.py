"""Inputs and layers for tests of layers without sparse kernels."""

from __future__ import annotations

import warnings

import torch
from torch import nn

from szilard import SzilardWarning
from szilard.bayes import bayesianize

WORDS = torch.tensor([[1, 2, 0], [3, 0, 0], [4, 4, 1]])


def quiet(network, *options, **named):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SzilardWarning)
        return bayesianize(network, *options, **named)


class Bare(nn.Module):
    def __init__(self):
        super().__init__()
        self.matrix, self.scale = nn.Parameter(torch.randn(4, 3)), nn.Parameter(torch.ones(3))
        self.out = nn.Linear(3, 2)

    def forward(self, x):
        return self.out((x @ self.matrix).tanh() * self.scale)
