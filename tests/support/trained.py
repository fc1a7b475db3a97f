"""Small trained networks for the tests of compression."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from szilard import data


class ConvNet(nn.Module):
    """Convolutions with BatchNorm and a shortcut, for the digits."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 16, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(16)
        self.conv3 = nn.Conv2d(16, 32, 3, stride=2, padding=1, groups=2, bias=False)
        self.bn3 = nn.BatchNorm2d(32)
        self.fc = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x)).relu()
        x = x + self.bn2(self.conv2(x)).relu()
        return self.fc(self.bn3(self.conv3(x)).relu().mean((2, 3)))


@cache
def digits() -> data.DataSet:
    return data.load("digits")


@cache
def conv_net() -> nn.Module:
    """In eval mode, about 98 % of the test set; do not change it."""
    return _train(ConvNet, 15)


@cache
def mlp() -> nn.Module:
    return _train(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 10)), 15)


def accuracy(network: nn.Module, part: str = "test") -> float:
    split = getattr(digits(), part)
    with torch.no_grad():
        return float((network.eval()(split.x).argmax(1) == split.y).float().mean())


def _train(build, epochs: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build()
    train = digits().train
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        for rows in torch.randperm(len(train), generator=generator).split(64):
            optimizer.zero_grad()
            F.cross_entropy(network(train.x[rows]), train.y[rows]).backward()
            optimizer.step()
    return network.eval()
