"""Statistics of the maps that Gaussian tensors hold, each a number for every example and channel."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class Statistic:
    """A tensor that is computed from a map when it is needed; the map is let go then.

    Args:
        function: of the map.
        values: the map.
    """

    __slots__ = ("_found", "_function", "_values")

    def __init__(self, function: Callable[[Tensor], Tensor], values: Tensor) -> None:
        self._function = function
        self._values: Tensor | None = values
        self._found: Tensor | None = None

    def __call__(self) -> Tensor:
        if self._found is None:
            assert self._values is not None
            self._found, self._values = self._function(self._values), None
        return self._found


def mean(values: Tensor) -> Tensor:
    """Mean over positions, ``[B, C]``."""
    return values if values.dim() == 2 else values.mean(tuple(range(2, values.dim())))


class Spread(NamedTuple):
    """Standard deviations of a map.

    Attributes:
        level: mean over positions of the standard deviation, ``[B, C]``.
        alone: variance of the mean over positions if they were independent, ``[B, C]``.
    """

    level: Statistic
    alone: Statistic

    def scaled(self, factor: float) -> Spread:
        """With ``factor`` times the variance."""
        root = math.sqrt(factor)
        return Spread(
            Statistic(lambda v: v * root, self.level()), Statistic(lambda v: v * factor, self.alone())
        )


def spread(variance: Tensor) -> Spread:
    """Of a map with this variance ``[B, C, *positions]``, or of vectors ``[B, C]``."""
    return Spread(Statistic(_level, variance), Statistic(_alone, variance))


def _level(variance: Tensor) -> Tensor:
    return mean(variance.sqrt())


def _alone(variance: Tensor) -> Tensor:
    return mean(variance) * (1 / math.prod(variance.shape[2:]))
