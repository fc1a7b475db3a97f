"""The builder of a program: each method adds a step and returns its value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import overload

from torch import Tensor

from szilard.errors import SzilardError
from szilard.kernels.inference.compiled import Compiled
from szilard.kernels.inference.sizes import Size, padded, pair, swept
from szilard.kernels.inference.steps import MOST_BATCH, Activation, Kind, Step, Value, planes
from szilard.kernels.inference.weights import Dense, Sparse

Weight = Dense | Sparse


class Program:
    """A network for a fixed, small batch as a list of steps; :meth:`finish` gives a function of tensors.

    In a program of moments every value has a mean and a variance: weights and the entries of a value are independent
    Gaussians, which is exact for a sum and an approximation after it. A program that is not takes means alone.

    Sizes of windows, strides, dilations and paddings are one number or one for each axis; a padding of an axis can be a
    pair (before, after).

    Args:
        batch: examples in each input, 1 to 8.
        moments: whether variances are computed.

    Raises:
        SzilardError: from every method, if sizes do not belong together.
    """

    def __init__(self, batch: int, moments: bool) -> None:
        if not 1 <= batch <= MOST_BATCH:
            raise SzilardError(
                f"a program takes 1 to {MOST_BATCH} examples, not {batch}; call it several times"
            )
        self.batch, self.moments = batch, bool(moments)
        self._input: Value | None = None
        self._steps: list[Step] = []
        self._shapes: list[tuple[int, int, int]] = []

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
        return self._input

    # -- products -----------------------------------------------------------------------------------

    def linear(
        self,
        x: Value,
        weight: Weight,
        bias: Tensor | None = None,
        bias_variance: Tensor | None = None,
        relu: bool = False,
    ) -> Value:
        """``weight [out, in]`` times ``x``, flattened.

        Args:
            bias, bias_variance: ``[out]``.
            relu: whether ReLU follows.
        """
        out, columns = weight.shape[0], math.prod(weight.shape[1:])
        if columns != math.prod(x.shape):
            raise SzilardError(
                f"a linear step has a weight of shape {weight.shape} and an input of shape {x.shape}; "
                f"it needs {columns} numbers"
            )
        _check_bias(out, bias, bias_variance)
        given = {"weight": weight, "bias": bias, "bias_variance": bias_variance}
        step = Step(Kind.LINEAR, (self._number(x, True),), (out, 1, 1), relu=relu, **given)  # type: ignore[arg-type]
        return self._add(step, (out,))

    def conv(
        self,
        x: Value,
        weight: Weight,
        bias: Tensor | None = None,
        bias_variance: Tensor | None = None,
        *,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        relu: bool = False,
    ) -> Value:
        """A convolution over one or two axes with ``weight [out, in / groups, *kernel]``.

        Args:
            bias, bias_variance: ``[out]``.
            padding: zeros at the edges.
            relu: whether ReLU follows.
        """
        axes = len(x.shape) - 1
        if axes < 1 or len(weight.shape) != axes + 2:
            raise SzilardError(
                f"a convolution has a weight of shape {weight.shape} and an input of shape {x.shape}; "
                "give (channels, length) and [out, in, kernel], or one axis more in both"
            )
        out, per_group = weight.shape[:2]
        if groups < 1 or x.shape[0] != per_group * groups or out % groups:
            raise SzilardError(
                f"a convolution has {x.shape[0]} input channels, a weight of shape {weight.shape} and {groups} groups; "
                "each group needs its share of the channels"
            )
        _check_bias(out, bias, bias_variance)
        kernel, strides, dilations = pair(weight.shape[2:], axes), pair(stride, axes), pair(dilation, axes)
        pads = padded(padding, axes)
        size = swept(planes(x.shape)[1:], kernel, strides, pads, dilations)
        step = Step(
            Kind.CONV, (self._number(x),), (out, *size), relu=relu, kernel=kernel, stride=strides, dilation=dilations,
            padding=pads, groups=groups, weight=weight, bias=bias, bias_variance=bias_variance,
        )  # fmt: skip
        return self._add(step, (out, *size[2 - axes :]))

    def affine(self, x: Value, scale: Tensor, shift: Tensor | None = None, relu: bool = False) -> Value:
        """``scale[c] x + shift[c]`` for each channel: BatchNorm in eval mode.

        Args:
            scale, shift: ``[channels]``; deterministic.
            relu: whether ReLU follows.
        """
        if tuple(scale.shape) != x.shape[:1]:
            raise SzilardError(
                f"an affine step has {x.shape[0]} channels and a scale of shape {tuple(scale.shape)}; "
                "give one for each channel"
            )
        _check_bias(x.shape[0], shift, None)
        step = Step(
            Kind.AFFINE, (self._number(x),), planes(x.shape), relu=relu, weight=Dense(scale), bias=shift
        )
        return self._add(step, x.shape)

    # -- pooling ------------------------------------------------------------------------------------

    def max_pool(
        self, x: Value, kernel: Size, stride: Size | None = None, padding: Size = 0, relu: bool = False
    ) -> Value:
        """Maximum of each window; of moments by Clark's approximation, pair by pair: columns, then rows.

        Args:
            stride: that of the windows; None: their size.
            padding: never wins.
            relu: whether ReLU follows.
        """
        return self._pool(x, Kind.MAX_POOL, kernel, stride, padding, relu, True)

    def average_pool(
        self,
        x: Value,
        kernel: Size,
        stride: Size | None = None,
        padding: Size = 0,
        count_include_pad: bool = True,
    ) -> Value:
        """Mean of each window.

        Args:
            stride: that of the windows; None: their size.
            padding: zeros at the edges.
            count_include_pad: whether they count.
        """
        return self._pool(x, Kind.AVERAGE_POOL, kernel, stride, padding, False, count_include_pad)

    def global_average(self, x: Value) -> Value:
        """Mean over all positions, ``(channels,)``."""
        step = Step(Kind.GLOBAL_AVERAGE, (self._number(x),), (x.shape[0], 1, 1))
        return self._add(step, x.shape[:1])

    def _pool(
        self,
        x: Value,
        kind: Kind,
        kernel: Size,
        stride: Size | None,
        padding: Size,
        relu: bool,
        count_padding: bool,
    ) -> Value:
        axes = len(x.shape) - 1
        if axes < 1:
            raise SzilardError(
                f"pooling was given an input of shape {x.shape}; it needs channels and positions"
            )
        sizes, pads = pair(kernel, axes), padded(padding, axes)
        strides = sizes if stride is None else pair(stride, axes)
        if any(2 * side > k for k, sides in zip(sizes, pads, strict=True) for side in sides):
            raise SzilardError(
                f"pooling has windows of {sizes} and padding {pads}; pad by half a window at most"
            )
        size = swept(planes(x.shape)[1:], sizes, strides, pads, (1, 1))
        step = Step(
            kind, (self._number(x),), (x.shape[0], *size), relu=relu, kernel=sizes, stride=strides, padding=pads,
            count_padding=count_padding,
        )  # fmt: skip
        return self._add(step, (x.shape[0], *size[2 - axes :]))

    # -- element by element -------------------------------------------------------------------------

    def add(self, x: Value, y: Value, relu: bool = False) -> Value:
        """Sum of two independent values of one shape.

        Args:
            relu: whether ReLU follows.
        """
        if x.shape != y.shape:
            raise SzilardError(f"values of shapes {x.shape} and {y.shape} were added; give equal shapes")
        step = Step(Kind.ADD, (self._number(x), self._number(y)), planes(x.shape), relu=relu)
        return self._add(step, x.shape)

    def relu(self, x: Value) -> Value:
        """ReLU."""
        return self._activation(x, Activation.RELU)

    def leaky_relu(self, x: Value, slope: float = 0.01) -> Value:
        """``x``, times ``slope`` where it is negative."""
        if not math.isfinite(slope):
            raise SzilardError(f"a leaky ReLU has the slope {slope}; give a finite number")
        return self._activation(x, Activation.LEAKY_RELU, float(slope))

    def sigmoid(self, x: Value) -> Value:
        """Logistic function; moments by quadrature with 21 nodes, as of the next three."""
        return self._activation(x, Activation.SIGMOID)

    def tanh(self, x: Value) -> Value:
        """Hyperbolic tangent."""
        return self._activation(x, Activation.TANH)

    def gelu(self, x: Value) -> Value:
        """``x Phi(x)``."""
        return self._activation(x, Activation.GELU)

    def silu(self, x: Value) -> Value:
        """``x`` times its logistic function."""
        return self._activation(x, Activation.SILU)

    def _activation(self, x: Value, which: Activation, slope: float = 0.0) -> Value:
        step = Step(Kind.ACTIVATION, (self._number(x),), planes(x.shape), activation=which, slope=slope)
        return self._add(step, x.shape)

    # -- shapes -------------------------------------------------------------------------------------

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

    # -- the end ------------------------------------------------------------------------------------

    @overload
    def finish(self, outputs: Value, threads: int = 1) -> Compiled: ...
    @overload
    def finish(self, outputs: Sequence[Value], threads: int = 1) -> Compiled: ...
    def finish(self, outputs: Value | Sequence[Value], threads: int = 1) -> Compiled:
        """The program as a function of a tensor; weights are copied.

        Args:
            outputs: a value, or several: the function then returns a list.
            threads: for layers that are large enough.

        Raises:
            SzilardError: if a weight is not finite, a variance negative, or the index of a sparse weight wrong.
        """
        single = isinstance(outputs, Value)
        values = [outputs] if isinstance(outputs, Value) else list(outputs)
        if self._input is None or not values:
            raise SzilardError("a program was finished without an input or outputs; give it both")
        # An output is that of a step, in memory of its own.
        numbers = [self._copied(v) if v.number == 0 else self._number(v, any_shape=True) for v in values]
        return Compiled(
            self.batch, self.moments, self._input.shape, tuple(self._steps), tuple(numbers),
            tuple(v.shape for v in values), single, threads,
        )  # fmt: skip

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
        return Value(len(self._steps), shape)


def _check_bias(out: int, bias: Tensor | None, variance: Tensor | None) -> None:
    for name, tensor in (("bias", bias), ("bias variance", variance)):
        if tensor is not None and tuple(tensor.shape) != (out,):
            raise SzilardError(
                f"the {name} of a step has shape {tuple(tensor.shape)} and the step {out} outputs; "
                "give one number for each"
            )
