"""Steps for the errors that the positions of a map share: what a mean over positions keeps of them.

``rows`` hold how each of R outputs depends on the mean over positions of each of C channels, as a value ``(C, R)``.
They are followed back through the network, and each error that is met adds to the variance of the outputs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from szilard.errors import SzilardError
from szilard.kernels.inference.builder import Builder
from szilard.kernels.inference.steps import Kind, Number, Step, Value


class SharedErrors(Builder):
    """The part of :class:`szilard.kernels.inference.Program` for these steps; in a program of moments only."""

    def spreads(self, x: Value) -> Value:
        """Of each channel the mean over positions, twice, and two variances, ``(2 C,)``.

        They are the square of the mean standard deviation, and the variance of a mean of independent positions.

        Args:
            x: a map or a vector with C channels.
        """
        channels = 2 * x.shape[0]
        step = Step(Kind.SPREADS, (self._number(x),), (channels, 1, 1))
        return self._shared(step, (channels,))

    def gains(self, before: Value, after: Value) -> Value:
        """By how much a monotone function scales errors of the means ``(C,)``; the variance is what it adds to them.

        Args:
            before, after: spreads ``(2 C,)``.
        """
        if before.shape != after.shape or len(before.shape) != 1 or before.shape[0] % 2:
            raise SzilardError(f"gains were asked for spreads of shapes {before.shape} and {after.shape}")
        channels = before.shape[0] // 2
        step = Step(Kind.GAINS, (self._number(before), self._number(after)), (channels, 1, 1))
        return self._shared(step, (channels,))

    def scale_rows(self, rows: Value, by: Value) -> Value:
        """Rows of each channel times a number, the mean of ``by``.

        Args:
            rows: ``(C, R)``.
            by: ``(C,)``.
        """
        if len(rows.shape) != 2 or by.shape != rows.shape[:1]:
            raise SzilardError(
                f"rows of shape {rows.shape} were multiplied by {by.shape}; give (C, R) and (C,)"
            )
        step = Step(
            Kind.SCALE_ROWS, (self._number(rows), self._number(by)), (rows.shape[0], 1, rows.shape[1])
        )
        return self._shared(step, rows.shape)

    def contributions(self, x: Value, pairs: Sequence[tuple[Value, Value]]) -> Value:
        """``x``, whose variance is at least the sum of squared rows times the variances of errors.

        Args:
            x: ``(R,)``.
            pairs: rows ``(C, R)`` and a value ``(C,)`` whose variance is that of errors; C differs.
        """
        if len(x.shape) != 1 or any(r.shape != (*e.shape, *x.shape) for r, e in pairs):
            raise SzilardError(
                f"contributions to a value of shape {x.shape} have shapes {[(r.shape, e.shape) for r, e in pairs]}"
            )
        numbers = [self._number(x), *(self._number(one) for pair in pairs for one in pair)]
        return self._shared(Step(Kind.CONTRIBUTIONS, tuple(numbers), (x.shape[0], 1, 1)), x.shape)

    def _shared(self, step: Step, shape: tuple[int, ...]) -> Value:
        if not self.moments:
            raise SzilardError("a program of numbers has no errors; make a program of moments")
        return self._add(step, shape)


def spreads(x: Number) -> Number:
    """The step of this name, in torch."""
    mean, variance = x
    centre = mean.mean((2, 3))
    if variance is None:
        return torch.cat((centre, centre), 1), None
    level, alone = variance.sqrt().mean((2, 3)), variance.mean((2, 3)) / (mean.shape[2] * mean.shape[3])
    return torch.cat((centre, centre), 1), torch.cat((level.square(), alone), 1)


def gains(before: Number, after: Number) -> Number:
    """The step of this name, in torch."""
    (_, v), (_, w) = before, after
    if v is None or w is None:
        zeros = torch.zeros_like(before[0].chunk(2, 1)[0])
        return zeros, zeros
    (level, alone), (level_after, alone_after) = v.chunk(2, 1), w.chunk(2, 1)
    square = torch.where(level > 0, level_after / level.clamp_min(torch.finfo(level.dtype).tiny), 0)
    return square.sqrt(), (alone_after - square * alone).clamp_min(0)


def scale_rows(rows: Number, by: Number) -> Number:
    """The step of this name, in torch."""
    return rows[0] * by[0], None


def contributions(given: Sequence[Number]) -> Number:
    """The step of this name, in torch."""
    (mean, variance), rest = given[0], given[1:]
    total: Tensor = torch.zeros_like(mean)
    for (rows, _), (_, spread) in zip(rest[::2], rest[1::2], strict=True):
        if spread is not None:
            total = total + (rows.square() * spread.flatten(1)[:, :, None, None]).sum(1).reshape(mean.shape)
    return mean, total if variance is None else torch.maximum(total, variance)
