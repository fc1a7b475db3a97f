"""Small convolutional networks for tests of policies; one was trained on scikit-learn's digits."""

from __future__ import annotations

import copy
import functools

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

from szilard.compression.channels.units import ChannelUnits
from szilard.compression.policies.policy import LayerPolicy, Policy
from szilard.networks.norm import NormReLU
from szilard.networks.resnet import Block


class ConvNet(nn.Module):
    """Two convolutions with BatchNorm, a residual one, and a linear layer: ``[B, 1, 8, 8] -> [B, 10]``."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv3, self.bn3 = nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16)
        self.fc = nn.Linear(16 * 2 * 2, 10)

    def forward(self, x):
        h = F.relu(self.bn1(self.conv1(x)))
        h = F.relu(self.bn2(self.conv2(h)) + h)
        h = F.max_pool2d(F.relu(self.bn3(self.conv3(h))), 2)
        return self.fc(h.flatten(1))


class Residual(nn.Module):
    """A convolution, and a block whose norm adds its shortcut inside."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 6, 3, padding=1, bias=False), NormReLU(6)
        self.block = Block(6, 6, 1, "A")
        self.fc = nn.Linear(6, 4)

    def forward(self, x):
        return self.fc(self.block(self.bn1(self.conv1(x))).mean((2, 3)))


def digits():
    """All images ``[1797, 1, 8, 8]``, in [-1, 1], and their classes."""
    bunch = load_digits()
    return torch.tensor(bunch.images, dtype=torch.float32)[:, None] / 8 - 1, torch.tensor(bunch.target)


@functools.cache
def _trained():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = ConvNet()
    x, y = digits()
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    order = torch.Generator().manual_seed(0)
    for _ in range(80):
        rows = torch.randint(1200, (64,), generator=order)
        optimizer.zero_grad()
        F.cross_entropy(network(x[rows]), y[rows]).backward()
        optimizer.step()
    return network.eval()


def trained():
    """The network (a copy), the inputs it was not trained on ``[597, 1, 8, 8]``, and its units."""
    network, x = copy.deepcopy(_trained()), digits()[0][1200:]
    return network, x, ChannelUnits.of(network, x[:2])


def policy(units, kept=None, bits=None):
    """A policy of what some pools keep, and of the bits of some layers."""
    sizes = units.sizes(kept or {})
    return Policy(
        tuple(LayerPolicy(name, sizes[name][1], *(bits or {}).get(name, (32, 32))) for name in units.layers)
    )
