"""Whether the outputs of a regression correlate with its targets in other units: a factor and an offset, a logarithm
with them, or another monotone function.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

CORRELATED = 0.9  # |r| above which outputs are considered to follow the targets
_CORRELATED_IF_BAD = 0.7  # the same if R² is worse than that of a constant
_NO_OFFSET = 0.01  # share of the variance below which the offset is left out of the equation
_CLEARLY = (
    1 / 3
)  # share of the unexplained variance that a logarithm must remove compared with a straight line
_GAP = 0.05  # by which R² must be below r² to conclude that the units are wrong
_WIDE_GAP = 0.2  # the same for an unknown function, and for an R² above 0 that cannot measure a drop
_NEAR = 2  # examples before and after one, in the order of the targets, whose outputs predict its output


@dataclass(frozen=True)
class UnitRelation:
    """The relation between outputs and targets.

    Attributes:
        r: Pearson's correlation of the two quantities in ``text``; the rank correlation for a monotone function.
        linear: Pearson's correlation of outputs and targets.
        text: an equation, such as "price = 100000 x output".
        monotone: the relation is monotone, and neither linear nor a logarithm.
    """

    r: float
    linear: float
    text: str
    monotone: bool = False

    def explains(self, score: float) -> bool:
        """Whether wrong units, and not a bad network, explain an R² as low as ``score``."""
        least = CORRELATED if score > 0 or self.monotone else _CORRELATED_IF_BAD
        return abs(self.r) > least and score < self.r**2 - (_WIDE_GAP if self.monotone else _GAP)

    def forbids(self, score: float) -> bool:
        """Whether R² cannot measure a drop, because it is 0 or less, or explains much less than the relation does."""
        return self.explains(score) and (score <= 0 or score < self.r**2 - _WIDE_GAP)


def relation_of(output: Tensor, y: Tensor, name: str) -> UnitRelation | None:
    """The closest relation between outputs ``[N]`` and targets ``[N]``, in the units of the data.

    Args:
        name: of the target.

    Returns:
        None if either is constant or not finite.
    """
    output, y = output.double().flatten(), y.double().flatten()
    if len(y) < 3 or not bool(torch.isfinite(output).all()):
        return None
    linear = _correlation(output, y)
    if linear is None:
        return None
    r, text = linear, _line(output, y, name)
    if bool((y > 0).all()):
        other = _correlation(output, y.log())
        if _clearly(other, r):
            r, text = other or r, _line(output, y.log(), f"log {name}")
    if bool((output > 0).all()):
        other = _correlation(output.log(), y)
        if _clearly(other, r):
            r, text = other or r, _line(output.log(), y, name, "log output")
    if abs(r) <= CORRELATED:
        rank = _correlation(_ranks(output), _ranks(y))
        if rank is not None and abs(rank) > CORRELATED and _follows_in_order(output, y) > r**2 + _WIDE_GAP:
            return UnitRelation(rank, linear, f"{name} = a monotone function of output", monotone=True)
    return UnitRelation(r, linear, text)


def _ranks(values: Tensor) -> Tensor:
    """Ranks ``[N]``, equal values with their mean rank."""
    _, places, counts = values.unique(return_inverse=True, return_counts=True)
    ends = counts.cumsum(0).double()
    return (ends - (counts.double() - 1) / 2)[places]


def _follows_in_order(output: Tensor, y: Tensor) -> float:
    """Share of the outputs' variance that the outputs of examples with the nearest targets explain.

    It is high for any smooth function of the targets. A few large errors, which also make R² low, keep it low.
    """
    ordered = output[y.argsort(stable=True)]
    if len(ordered) < 8 * _NEAR:
        return 0.0
    inner = ordered[_NEAR:-_NEAR]
    shifts = [k for k in range(2 * _NEAR + 1) if k != _NEAR]
    guess = torch.stack([ordered[k : k + len(inner)] for k in shifts]).mean(0)
    return 1 - float((inner - guess).square().mean() / inner.var(unbiased=False).clamp_min(1e-300))


def _clearly(other: float | None, r: float) -> bool:
    """Whether a correlation leaves at least a third less variance unexplained than ``r``."""
    return other is not None and 1 - other**2 < (1 - _CLEARLY) * (1 - r**2)


def _correlation(a: Tensor, b: Tensor) -> float | None:
    a, b = a - a.mean(), b - b.mean()
    size = float(a.norm() * b.norm())
    if not size or not math.isfinite(size):
        return None
    return float(a @ b) / size


def _line(output: Tensor, y: Tensor, name: str, of: str = "output") -> str:
    """The least-squares line as an equation, without an offset if it is not needed."""
    factor = float(output @ y) / float(output @ output)
    spread = float((y - y.mean()).square().sum())
    centred = output - output.mean()
    slope = float(centred @ y) / float(centred @ centred)
    offset = float(y.mean()) - slope * float(output.mean())
    left = float((y - slope * output - offset).square().sum())
    if float((y - factor * output).square().sum()) <= left + _NO_OFFSET * spread:
        return f"{name} = {_number(factor)} x {of}"
    return f"{name} = {_number(slope)} x {of} {'-' if offset < 0 else '+'} {_number(abs(offset))}"


def _number(value: float) -> str:
    return f"{float(f'{value:.3g}'):.10g}" if 1e-4 <= abs(value) < 1e9 else f"{value:.3g}"
