"""Errors that the positions of a map share, in programs: :mod:`szilard.bayes.moments.positions` with steps.

The statistics of maps become steps while a network is traced, and rows are followed back when a mean over positions is
read. Rows are constant tensors until they first meet a number that depends on the input, and values of the program from
there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from szilard.bayes.moments import positions
from szilard.bayes.moments.positions import Means
from szilard.bayes.moments.sharing import Window, shares_of
from szilard.kernels.inference import Dense, Program, Sparse, Value

#: A constant ``[R, C]``, or a value ``(C, R)``.
Rows = Tensor | Value
Model = Callable[
    [Dense | Sparse, Tensor | None], Means | None
]  # of a layer, from its weight and the variance of its bias


class TracedProgram(Program):
    """A program for a network that is traced.

    Args:
        models: whether errors that positions share are followed. Where they are not needed, they would take time.

    Attributes:
        averages: whether a mean over positions was met: the network has to be traced with models.
    """

    def __init__(self, batch: int, moments: bool, models: bool = False) -> None:
        super().__init__(batch, moments)
        self.models, self.averages = models and moments, False
        self._unit: Value | None = None

    def constant(self, rows: Tensor) -> Value:
        """Constant rows ``[R, C]`` as a value ``(C, R)``."""
        if self._unit is None:
            assert self._input is not None
            strides = self._input.shape[1:] or 1
            self._unit = self.flatten(self.channels(self._input, 1, 0, strides))
        numbers = rows.T.reshape(-1).float()
        flat = self.linear(self._unit, Dense(torch.zeros(len(numbers), 1)), numbers)
        return self.reshape(flat, tuple(rows.T.shape))


class Followed(Protocol):
    """What the functions here read of a traced tensor (:class:`szilard.deploy.native.traced.Traced`)."""

    @property
    def program(self) -> TracedProgram: ...
    @property
    def value(self) -> Value: ...
    @property
    def alone(self) -> Value: ...
    @property
    def sizes(self) -> tuple[int, ...]: ...
    @property
    def shared(self) -> Means | None: ...
    @property
    def spreads(self) -> Value: ...


def joint(x: Followed) -> Value:
    """The value of an average, with the variance of the errors that positions share."""
    program, alone, count = x.program, x.alone, x.sizes[0]
    assert x.shared is not None
    pairs = []
    for model, rows in positions.followed(x.shared, torch.eye(count), lambda a, b: _added(program, a, b)):
        if model.noise is not None:
            pairs.append((_value(program, rows), model.noise()))
    found = program.contributions(program.reshape(alone, (count,)), pairs)
    return program.reshape(found, alone.shape)


def of_layer(x: Followed, window: Window | None, outputs: Sequence[int]) -> Model:
    """The model after a linear map (without a window) or a convolution of ``x``."""
    program = x.program
    if not program.models:
        return lambda weight, noise: None
    before = known(x)
    if window is None:
        if before is None:
            return lambda weight, noise: None
        shares: list[tuple[float, ...]] = []
    else:
        shares = shares_of(x.sizes[1:], outputs, window)
    groups = 1 if window is None else window.groups
    centre = (
        program.channels(x.spreads, x.sizes[0]) if before is not None else program.global_average(x.value)
    )

    def model(weight: Dense | Sparse, noise: Tensor | None) -> Means | None:
        if before is None and weight.variance is None and noise is None:
            return None
        mean = positions.summed(weight.dense(weight.mean), shares, 1)
        back = [] if before is None else [(before, lambda rows: _through(program, rows, mean, groups))]
        if weight.variance is None and noise is None:
            return Means(back)
        spread = torch.zeros_like(mean) if weight.variance is None else weight.dense(weight.variance)
        full = _blocks(positions.summed(spread, shares, 2), groups)
        return Means(back, lambda: program.linear(centre, Dense(torch.zeros_like(full), full), None, noise))

    return model


def known(x: Followed) -> Means | None:
    """The model of a value; that of a random map without one has independent positions."""
    program, shared = x.program, x.shared
    if shared is None and program.models and len(x.sizes) > 1 and program.is_random(x.value):
        spreads, count = x.spreads, x.sizes[0]
        return Means((), lambda: program.channels(spreads, count, -count))
    return shared


def scaled(x: Followed, scale: Tensor) -> Callable[[], Means | None]:
    """After a constant scale ``[C]``."""
    program = x.program

    def back(rows: Rows) -> Rows:
        return rows * scale if isinstance(rows, Tensor) else program.affine(rows, scale)

    def model() -> Means | None:
        return None if x.shared is None else Means([(x.shared, back)])

    return model


def monotone(y: Followed, x: Followed) -> Callable[[], Means | None]:
    """After a monotone function of each entry, or a max-pool."""
    program = x.program

    def model() -> Means | None:
        if x.shared is None:
            return None
        gains = program.gains(x.spreads, y.spreads)
        return Means(
            [(x.shared, lambda rows: program.scale_rows(_value(program, rows), gains))], lambda: gains
        )

    return model


def summed(first: Followed, second: Followed) -> Callable[[], Means | None]:
    """After a sum of two values of one shape."""

    def model() -> Means | None:
        if first.shared is None and second.shared is None:
            return None
        vectors = len(first.sizes) == 1
        parts = [_independent_too(x) if vectors else known(x) for x in (first, second)]
        return Means([(part, lambda rows: rows) for part in parts if part is not None])

    return model


def window(x: Followed, first: int, count: int) -> Callable[[], Means | None]:
    """``count`` channels from ``first`` on; those that there are not are zero."""
    program, channels = x.program, x.sizes[0]
    low, high = max(first, 0), max(min(first + count, channels), first, 0)

    def back(rows: Rows) -> Rows:
        if isinstance(rows, Tensor):
            return torch.nn.functional.pad(rows[:, low - first : high - first], (low, channels - high))
        return program.channels(rows, channels, first)

    def model() -> Means | None:
        return None if x.shared is None else Means([(x.shared, back)])

    return model


def joined(parts: Sequence[Followed]) -> Callable[[], Means | None]:
    """After a concatenation of maps along channels."""
    program = parts[0].program

    def back(begin: int, size: int) -> Callable[[Rows], Rows]:
        return lambda rows: (
            rows[:, begin : begin + size]
            if isinstance(rows, Tensor)
            else program.channels(rows, size, -begin)
        )

    def model() -> Means | None:
        if len(parts[0].sizes) == 1 or all(x.shared is None for x in parts):
            return None
        found, begin = [], 0
        for x in parts:
            one = known(x)
            if one is not None:
                found.append((one, back(begin, x.sizes[0])))
            begin += x.sizes[0]
        return Means(found)

    return model


def _independent_too(x: Followed) -> Means | None:
    """The model of a vector; without one its entries are independent."""
    program = x.program
    if x.shared is None and program.is_random(x.value):
        spreads, count = x.spreads, x.sizes[0]
        return Means((), lambda: program.channels(spreads, count, -count))
    return x.shared


def _through(program: TracedProgram, rows: Rows, mean: Tensor, groups: int) -> Rows:
    """Rows over inputs from rows over outputs, with the weight ``[O, I / groups]``."""
    if isinstance(rows, Tensor):
        return rows @ _blocks(mean, groups)
    kernel = mean.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)  # [I, O / groups]
    return program.conv(rows, Dense(kernel.unsqueeze(-1).contiguous()), groups=groups)


def _blocks(weight: Tensor, groups: int) -> Tensor:
    """``[O, I / groups]`` as the whole matrix ``[O, I]``."""
    return weight if groups == 1 else torch.block_diag(*weight.unflatten(0, (groups, -1)))


def _value(program: TracedProgram, rows: Rows) -> Value:
    return program.constant(rows) if isinstance(rows, Tensor) else rows


def _added(program: TracedProgram, a: Rows, b: Rows) -> Rows:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a + b
    return program.add(_value(program, a), _value(program, b))
