"""Whether outputs of a regression follow its targets in other units: by a factor and an offset, a logarithm with them,
or another monotone function.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

FOLLOWS = 0.9  # |r| from which outputs are said to follow targets
_FOLLOWS_AT_ALL = 0.7  # the same where R² is worse than a constant's
_NEARLY = 0.01  # of the variance, for which no offset is named
_CLEARLY = 1 / 3  # of what is unexplained, by which a logarithm must be better than a straight line
_OFF = 0.05  # by which R² must be less than r² for the units to be wrong
_FAR_OFF = 0.2  # the same for a function that is not known, and for R² above 0 that measures no drop
_NEAR = 2  # examples before and after one, in the order of the targets, whose outputs predict its output


@dataclass(frozen=True)
class Link:
    """How outputs and targets hang together.

    Attributes:
        r: Pearson's correlation of what ``says`` relates; the rank correlation of a monotone function.
        straight: the same of outputs and targets themselves.
        says: an equation, such as "price = 100000 x output".
        monotone: the relation is monotone, and neither a line nor a logarithm.
    """

    r: float
    straight: float
    says: str
    monotone: bool = False

    def explains(self, score: float) -> bool:
        """Whether units, and not the network, make R² as low as ``score``."""
        least = FOLLOWS if score > 0 or self.monotone else _FOLLOWS_AT_ALL
        return abs(self.r) > least and score < self.r**2 - (_FAR_OFF if self.monotone else _OFF)

    def forbids(self, score: float) -> bool:
        """Whether a drop of R² would be measured in wrong units: it explains much less than the relation does."""
        return self.explains(score) and (score <= 0 or score < self.r**2 - _FAR_OFF)


def linked(output: Tensor, y: Tensor, name: str) -> Link | None:
    """The closest relation of outputs ``[N]`` to targets ``[N]`` in the units of the data.

    Args:
        name: of the target.

    Returns:
        None where either does not vary or is not finite.
    """
    output, y = output.double().flatten(), y.double().flatten()
    if len(y) < 3 or not bool(torch.isfinite(output).all()):
        return None
    straight = _correlation(output, y)
    if straight is None:
        return None
    r, says = straight, _line(output, y, name)
    if bool((y > 0).all()):
        other = _correlation(output, y.log())
        if _clearly(other, r):
            r, says = other or r, _line(output, y.log(), f"log {name}")
    if bool((output > 0).all()):
        other = _correlation(output.log(), y)
        if _clearly(other, r):
            r, says = other or r, _line(output.log(), y, name, "log output")
    if abs(r) <= FOLLOWS:
        rank = _correlation(_ranks(output), _ranks(y))
        if rank is not None and abs(rank) > FOLLOWS and _follows_in_order(output, y) > r**2 + _FAR_OFF:
            return Link(rank, straight, f"{name} = a monotone function of output", monotone=True)
    return Link(r, straight, says)


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
    """Whether a correlation leaves a third less unexplained than another one does."""
    return other is not None and 1 - other**2 < (1 - _CLEARLY) * (1 - r**2)


def _correlation(a: Tensor, b: Tensor) -> float | None:
    a, b = a - a.mean(), b - b.mean()
    size = float(a.norm() * b.norm())
    if not size or not math.isfinite(size):
        return None
    return float(a @ b) / size


def _line(output: Tensor, y: Tensor, name: str, of: str = "output") -> str:
    """The least-squares line as an equation, without an offset where none is needed."""
    factor = float(output @ y) / float(output @ output)
    spread = float((y - y.mean()).square().sum())
    centred = output - output.mean()
    slope = float(centred @ y) / float(centred @ centred)
    offset = float(y.mean()) - slope * float(output.mean())
    left = float((y - slope * output - offset).square().sum())
    if float((y - factor * output).square().sum()) <= left + _NEARLY * spread:
        return f"{name} = {_number(factor)} x {of}"
    return f"{name} = {_number(slope)} x {of} {'-' if offset < 0 else '+'} {_number(abs(offset))}"


def _number(value: float) -> str:
    return f"{float(f'{value:.3g}'):.10g}" if 1e-4 <= abs(value) < 1e9 else f"{value:.3g}"
