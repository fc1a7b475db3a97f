"""The largest curvature of a loss in scaled coordinates, which bounds the step of a sampler."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_SMALL = 1e-3  # length of a difference, in units of the scaled parameters' norm or 1


def largest_curvature(
    gradient: Callable[[], Sequence[Tensor]],
    parameters: Sequence[Tensor],
    scales: Sequence[Tensor | float],
    *,
    iterations: int = 10,
    seed: int = 0,
) -> float:
    """λ_max of S H S for the Hessian H of a loss and S = diag(scales), by power iteration.

    Products with H are differences of gradients, so that any network and any kernels will do. Parameters are moved
    and put back, bit for bit.

    Args:
        gradient: computes the gradients of the loss, always of the same batch and noise, in the order of
            ``parameters``.
        parameters: of the loss.
        scales: s of each parameter, a tensor of its shape or a number.
        iterations: gradients that are computed, and one more.
        seed: of the first direction.

    Returns:
        an estimate from below, at least 0; infinite where a gradient is not finite.
    """
    generator = torch.Generator().manual_seed(seed)
    kept = [parameter.detach().clone() for parameter in parameters]
    base = [part.detach().clone() for part in gradient()]
    direction = _unit([torch.randn(p.shape, generator=generator).to(p) for p in kept])
    size = _SMALL * max(1.0, _norm([p / s for p, s in zip(kept, scales, strict=True)]) / math.sqrt(len(kept)))
    found = 0.0
    try:
        for _ in range(iterations):
            with torch.no_grad():
                for p, start, v, s in zip(parameters, kept, direction, scales, strict=True):
                    p.copy_(start + size * s * v)
            moved = [(new - old) * s / size for new, old, s in zip(gradient(), base, scales, strict=True)]
            found = _norm(moved)
            if not math.isfinite(found):
                return math.inf
            if found == 0:
                break
            direction = _unit(moved)
    finally:
        with torch.no_grad():
            for p, start in zip(parameters, kept, strict=True):
                p.copy_(start)
    return found


def _norm(parts: Sequence[Tensor]) -> float:
    return math.sqrt(sum(float(part.detach().double().square().sum()) for part in parts))


def _unit(parts: Sequence[Tensor]) -> list[Tensor]:
    length = _norm(parts)
    return [part / length for part in parts]
