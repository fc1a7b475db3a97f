"""Rules for means and variances against draws: linear maps, ReLU, maxima, averages, and orders of pooling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from szilard.bayes import GaussianTensor

UNITS = 50  # of each rule
RADII = (0.05, 0.2, 0.5, 1.0, 2.0)
DEVIATIONS = (1e-1, 1e-2, 1e-3, 1e-4)


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def errors(
    rule: Callable[..., Any],
    shape: tuple[int, ...],
    generator: torch.Generator,
    draws: int,
    equal: bool = False,
) -> tuple[float, float]:
    """Largest relative errors of mean (against the root mean square) and variance, over units in batches of draws."""
    mean, sd = normal(generator, UNITS, *shape), 0.5 + normal(generator, UNITS, *shape).abs()
    sd = torch.ones_like(sd) if equal else sd
    mean = mean.maximum(-sd)  # draws hardly measure a ReLU that is rarely active
    found = rule(GaussianTensor(mean, sd.square())).moments
    first, second, count = torch.zeros_like(found.mean), torch.zeros_like(found.mean), 0
    while count < draws:
        batch = min(10_000, draws - count)
        values = rule(mean + sd * normal(generator, batch, *mean.shape)) - found.mean
        first, second, count = first + values.sum(0), second + values.square().sum(0), count + batch
    shift = first / count
    variance = second / count - shift.square()
    scale = (variance + (found.mean + shift).square()).sqrt()
    return float((shift / scale).abs().max()), float((found.variance / variance - 1).abs().max())


def clark(x: Tensor) -> Tensor:
    return torch.maximum(x[..., 0], x[..., 1])


def four(x: Tensor) -> Tensor:
    return F.max_pool2d(x.reshape(-1, 1, 2, 2), 2).view(x.shape[:-1])


def rules(seed: int, draws: int) -> dict[str, tuple[float, float]]:
    weight = normal(torch.Generator().manual_seed(seed + 100), 1, 8)
    tried: dict[str, tuple[Callable[..., Any], tuple[int, ...]]] = {
        "linear": (lambda x: F.linear(x, weight), (8,)), "relu": (F.relu, ()), "maximum of 2": (clark, (2,)),
        "maximum of 4": (four, (4,)), "average": (lambda x: x.mean(-1), (4,)),
    }  # fmt: skip
    found = {
        name: errors(rule, shape, torch.Generator().manual_seed(seed), draws)
        for name, (rule, shape) in tried.items()
    }
    found["maximum of 4, equal sd"] = errors(four, (4,), torch.Generator().manual_seed(seed), draws, True)
    return found


def conditioning(seed: int) -> dict[str, dict[str, float]]:
    """Relative error of a variance in single precision, of both forms, by the deviation of weights and inputs."""
    generator = torch.Generator().manual_seed(seed)
    w, x = normal(generator, 64, 256), normal(generator, 32, 256)
    found = {}
    for sd in DEVIATIONS:
        vw, vx = torch.full_like(w, sd**2), torch.full_like(x, sd**2)
        exact = F.linear(vx, w.square() + vw) + F.linear(x.square(), vw)
        a, va, b, vb = (part.float() for part in (x, vx, w, vw))
        ours = F.linear(GaussianTensor(a, va), GaussianTensor(b, vb)).moments.variance
        published = F.linear(a.square() + va, b.square() + vb) - F.linear(a.square(), b.square())
        found[f"{sd:g}"] = {
            "variance form": float((ours / exact - 1).abs().max()),
            "second moments": float((published / exact - 1).abs().max()),
        }
    return found


def pools(seed: int, draws: int) -> dict[str, dict[str, float]]:
    """Ratio of the mean variance to that of draws, of both orders of ReLU and max-pooling, by the deviation."""
    found = {}
    for radius in RADII:
        generator = torch.Generator().manual_seed(seed)
        mean = normal(generator, 400, 1, 2, 2)
        variance = torch.full_like(mean, radius**2)
        values = F.relu(mean + radius * normal(generator, draws, *mean.shape)).flatten(2).amax(2)
        true = values.var(0).mean()
        rectified = F.relu(GaussianTensor(mean, variance))
        found[f"{radius:g}"] = {
            "pool, ReLU": float(F.max_pool2d(rectified, 2).moments.variance.mean() / true),
            "ReLU, pool": float(
                F.max_pool2d(GaussianTensor(*rectified.moments), 2).moments.variance.mean() / true
            ),
        }
    return found
