"""The values of a program that is being built, and the steps that only move numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from szilard.errors import SzilardError
from szilard.kernels.inference.sizes import Size, pair, swept
from szilard.kernels.inference.steps import MOST_BATCH, Kind, Step, Value, planes


class Builder:
    """The part of :class:`szilard.kernels.inference.Program` that knows nothing about what its steps compute."""

    def __init__(self, batch: int, moments: bool) -> None:
        if not 1 <= batch <= MOST_BATCH:
            raise SzilardError(
                f"a program takes 1 to {MOST_BATCH} examples, not {batch}; call it several times"
            )
        self.batch, self.moments = batch, bool(moments)
        self._input: Value | None = None
        self._steps: list[Step] = []
        self._shapes: list[tuple[int, int, int]] = []
        self._random: list[bool] = []

    def input(self, shape: Sequence[int]) -> Value:
        """The input, which is deterministic.

        Args:
            shape: of one example: ``(features,)``, ``(channels, length)`` or ``(channels, height, width)``.
        """
        if self._input is not None:
            raise SzilardError("a program has one input; concatenate inputs before you call it")
        if not 1 <= len(shape) <= 3 or min(shape) < 1:
            raise SzilardError(
                f"an input of shape {tuple(shape)} was asked for; give one to three positive sizes"
            )
        self._input = Value(0, tuple(int(n) for n in shape))
        self._shapes.append(planes(self._input.shape))
        self._random.append(False)
        return self._input

    def flatten(self, x: Value) -> Value:
        """The same numbers, ``(features,)``; no work."""
        return self.reshape(x, (math.prod(x.shape),))

    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        """The same numbers in another shape; no work unless a step needs that shape.

        Args:
            shape: of one example, as for :meth:`input`.
        """
        shape = tuple(int(n) for n in shape)
        if not 1 <= len(shape) <= 3 or min(shape) < 1 or math.prod(shape) != math.prod(x.shape):
            raise SzilardError(f"a value of shape {x.shape} cannot have the shape {shape}; give equal sizes")
        return Value(x.number, shape)

    def concat(self, values: Sequence[Value]) -> Value:
        """Along channels."""
        if not values or any(v.shape[1:] != values[0].shape[1:] for v in values):
            raise SzilardError(
                f"values of shapes {[v.shape for v in values]} were concatenated; they may differ in channels alone"
            )
        shape = (sum(v.shape[0] for v in values), *values[0].shape[1:])
        return self._add(Step(Kind.CONCAT, tuple(self._number(v) for v in values), planes(shape)), shape)

    def channels(self, x: Value, channels: int, offset: int = 0, stride: Size = 1) -> Value:
        """Output channel c is input channel ``c - offset``, or zero if there is none.

        So a negative offset takes a slice of the channels, and a positive one puts zeros in front.

        Args:
            channels: of the output.
            stride: every so many positions are kept, from the first on.
        """
        axes = len(x.shape) - 1
        if channels < 1 or abs(offset) > 2**30:
            raise SzilardError(f"{channels} channels with offset {offset} were asked for; give at least one")
        strides = pair(stride, axes) if axes else (1, 1)
        size = swept(planes(x.shape)[1:], (1, 1), strides, ((0, 0), (0, 0)), (1, 1))
        step = Step(Kind.CHANNELS, (self._number(x),), (channels, *size), stride=strides, offset=offset)
        return self._add(step, (channels, *size[2 - axes :]))

    def is_random(self, value: Value) -> bool:
        """Whether a value has a variance."""
        return self._random[value.number]

    def _makes_random(self, step: Step) -> bool:
        weight = step.weight
        if step.kind == Kind.SCALE_ROWS:
            return False
        noisy = step.bias_variance is not None or (weight is not None and weight.variance is not None)
        return noisy or any(self._random[k] for k in step.inputs)

    def _number(self, value: Value, any_shape: bool = False) -> int:
        """Number of the value with this shape: a flattened one is copied if a step needs its shape."""
        if not 0 <= value.number < len(self._shapes):
            raise SzilardError("a step was given a value of another program; use the values of this one")
        linear = any_shape or planes(value.shape) == self._shapes[value.number]
        return value.number if linear else self._copied(value)

    def _copied(self, value: Value) -> int:
        return self._add(Step(Kind.RESHAPE, (value.number,), planes(value.shape)), value.shape).number

    def _add(self, step: Step, shape: tuple[int, ...]) -> Value:
        self._steps.append(step)
        self._shapes.append(step.shape)
        self._random.append(self.moments and self._makes_random(step))
        return Value(len(self._steps), shape)


def check_bias(out: int, bias: Tensor | None, variance: Tensor | None) -> None:
    """Raises if there is not one number for each of ``out`` outputs."""
    for name, tensor in (("bias", bias), ("bias variance", variance)):
        if tensor is not None and tuple(tensor.shape) != (out,):
            raise SzilardError(
                f"the {name} of a step has shape {tuple(tensor.shape)} and the step {out} outputs; "
                "give one number for each"
            )
