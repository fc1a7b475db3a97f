"""What galen.py works on: the pretrained network and the parts of CIFAR-10, each for one purpose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from files import pretrained
from files.accuracy import Images
from files.pretrained import Source


@dataclass(frozen=True)
class Material:
    """A trained network in eval mode, and its data set."""

    network: nn.Module
    source: Source

    def calibration(self, seed: int, count: int) -> Tensor:
        """Training images without labels, drawn by the seed, float32 ``[count, C, H, W]``."""
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randperm(len(self.source.train.y), generator=generator)[:count]
        return self.source.normalised(self.source.train.x[rows]).contiguous()

    def training(self, count: int) -> Images:
        """The first training images, with labels."""
        return self.source.images("train", 0, count)

    def test(self, count: int) -> Images:
        """The first test images, which nothing but the judge sees."""
        return self.source.images("test", 0, count)


def resnet20(root: Path) -> Material:
    """ResNet-20 and CIFAR-10.

    Raises:
        SzilardError: the checkpoint or CIFAR-10 is not under ``root``.
    """
    return Material(pretrained.resnet20_network(root), pretrained.cifar10(root))
