"""The builder of a program: each method adds a step and returns its value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import overload

from torch import Tensor

from szilard.errors import SzilardError
from szilard.kernels.inference.builder import check_bias
from szilard.kernels.inference.compiled import Compiled
from szilard.kernels.inference.shared_errors import SharedErrors
from szilard.kernels.inference.sizes import Size, padded, pair, swept
from szilard.kernels.inference.steps import Activation, Kind, Step, Value, planes
from szilard.kernels.inference.weights import Dense, Sparse

Weight = Dense | Sparse


class Program(SharedErrors):
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
        check_bias(out, bias, bias_variance)
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
        check_bias(out, bias, bias_variance)
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
        check_bias(x.shape[0], shift, None)
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
