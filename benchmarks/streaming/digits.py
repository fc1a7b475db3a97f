"""Digits that turn: batches of MNIST whose angle jumps, for networks that carry their belief from batch to batch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import szilard
from szilard import networks
from szilard.data import mnist

BATCHES, STAYS = 12, 3  # batches, and how many follow each other at one angle
LEARNED, TESTED = 500, 1000  # images of a batch, and of its test at the same angle
JUMP = (20.0, 45.0)  # degrees, in either direction
SIDE = 14  # pixels, by averages over 2 x 2


@dataclass(frozen=True)
class Batch:
    """Images at one angle.

    Attributes:
        x, y: to learn, ``[500, 1, 14, 14]`` and ``[500]``.
        test_x, test_y: others, to judge what was learned.
        changed: whether the angle is another one than before.
    """

    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor
    changed: bool


def turned(images: Tensor, degrees: float) -> Tensor:
    """Images ``[N, 1, H, W]`` turned about their centre, by bilinear interpolation; outside of them is black."""
    angle = torch.tensor(degrees).deg2rad()
    cos, sin = angle.cos(), angle.sin()
    zero = torch.zeros(())
    matrix = torch.stack((torch.stack((cos, -sin, zero)), torch.stack((sin, cos, zero))))
    grid = F.affine_grid(matrix.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def batches(root: Path, seed: int) -> list[Batch]:
    """Twelve batches; the angle jumps by 20 to 45 degrees in either direction after every third."""
    generator = torch.Generator().manual_seed(seed)
    train, test, _ = mnist.read("mnist", root)
    learned = torch.randperm(len(train.y), generator=generator).split(LEARNED)
    angle, found = 0.0, []
    for number in range(BATCHES):
        changed = number > 0 and number % STAYS == 0
        if changed:
            size, side = torch.rand(2, generator=generator).tolist()
            angle += (JUMP[0] + size * (JUMP[1] - JUMP[0])) * (1 if side < 0.5 else -1)
        tested = torch.randperm(len(test.y), generator=generator)[:TESTED]
        parts = []
        for split, rows in ((train, learned[number]), (test, tested)):
            images = turned(split.x[rows].float() / 255, angle)
            parts += [F.avg_pool2d(images, images.shape[-1] // SIDE), split.y[rows]]
        found.append(Batch(parts[0], parts[1], parts[2], parts[3], changed))
    return found


def network(seed: int) -> nn.Module:
    """A mean-field MLP 196-50-10 with fresh weights."""
    plain = networks.build("mlp:50", (1, SIDE, SIDE), 10, seed=seed)
    return szilard.bayesianize(plain, fresh=True, seed=seed)
