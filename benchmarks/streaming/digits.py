"""Digits that turn: batches of MNIST whose angle jumps, for networks that carry their belief from batch to batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import szilard
from streaming.measures import LEAST
from szilard import networks
from szilard.adapt import NetworkFilter
from szilard.adapt.broadening import Broadening, Reset, Temper
from szilard.adapt.trackers import Always, Beam, NoChange, Tracker
from szilard.data import mnist

BATCHES, STAYS = 12, 3  # batches, and how many follow each other at one angle
LEARNED, TESTED = 500, 1000  # images of a batch, and of its test at the same angle
JUMP = (20.0, 45.0)  # degrees, in either direction
SIDE = 14  # pixels, by averages over 2 x 2
STEPS = 200  #: Gradient steps of all fits of a batch together, the same for every method.
TEMPERATURE = (
    0.03  #: Of the library's mean-field training. At 1, 500 images leave a reset network at its prior.
)


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


@dataclass(frozen=True)
class Way:
    """How a belief is carried from batch to batch, and how many fits a batch takes."""

    rule: Callable[[], Broadening]
    tracker: Callable[[], Tracker]
    fits: int = 1


METHODS = {
    "reset before each batch": Way(Reset, Always),
    "carried (VCL)": Way(Temper, NoChange),
    "carried, variance doubled": Way(lambda: Temper(0.5), Always),
    "VBS, K = 1": Way(lambda: Temper(0.5), lambda: Beam(1, 0.3), 2),
    "VBS, K = 3": Way(lambda: Temper(0.5), lambda: Beam(3, 0.3), 6),
}


def measured(root: Path, name: str, seed: int) -> dict[str, Any]:
    """NLL and accuracy on test images at the angle of the batch that was learned last, mean over batches."""
    way = METHODS[name]
    one = NetworkFilter(
        network(seed), broadening=way.rule(), tracker=way.tracker(), steps=STEPS // way.fits, lr=0.01,
        lr_log_std=5.0, batch_size=100, temperature=TEMPERATURE, seed=seed,
    )  # fmt: skip
    losses, right, found = [], [], 0
    for batch in batches(root, seed):
        one.learn(batch.x, batch.y)
        probabilities = one.predict(batch.test_x, ahead=False)
        labels = batch.test_y.numpy()
        losses.append(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], LEAST)).mean())
        right.append((probabilities.argmax(1) == labels).mean())
        found += one.found is not None
    return {"nll": float(np.mean(losses)), "accuracy": float(np.mean(right)), "found": found}
