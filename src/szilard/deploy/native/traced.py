"""A tensor that records what a network does with it, as steps of a program.

Steps are added when their result is first needed, so that what follows can be fused: ReLU into the step before it, a
BatchNorm into the weight of the layer before it. A max-pool after a ReLU is put before it, which changes nothing for
numbers and is more exact for Gaussians.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from szilard.bayes.moments.positions import Means
from szilard.deploy.native import sharing
from szilard.deploy.native.rule_table import LACKS, RULES
from szilard.deploy.native.sharing import Model, TracedProgram
from szilard.errors import SzilardError
from szilard.kernels.inference import Dense, Sparse, Value

Weight = Dense | Sparse
Emit = Callable[[bool], Value]  # adds the step, with or without a ReLU after it


class Layer:
    """A linear map or convolution that is not yet part of the program: its weight can still be scaled.

    Attributes:
        weight, bias, bias_variance: of the layer.
        emit: adds the step for a weight, a bias and its variance.
        model: the model of the errors that positions of its output share, from a weight and the variance of a bias.
    """

    def __init__(
        self,
        weight: Weight,
        bias: Tensor | None,
        emit: Callable[[Weight, Tensor | None, Tensor | None, bool], Value],
        bias_variance: Tensor | None = None,
        model: Model = lambda weight, noise: None,
    ) -> None:
        self.weight, self.bias, self.bias_variance, self.emit, self.model = (
            weight,
            bias,
            bias_variance,
            emit,
            model,
        )

    def __call__(self, relu: bool) -> Value:
        return self.emit(self.weight, self.bias, self.bias_variance, relu)

    def scaled(self, scale: Tensor, shift: Tensor) -> Layer:
        """With ``scale`` and ``shift`` of each output applied afterwards: exact for means and variances."""
        bias = shift if self.bias is None else self.bias * scale + shift
        spread = None if self.bias_variance is None else self.bias_variance * scale.square()
        return Layer(scaled(self.weight, scale), bias, self.emit, spread, self.model)

    def shared(self) -> Means | None:
        """The model of its output."""
        return self.model(self.weight, self.bias_variance)


def scaled(weight: Weight, scale: Tensor) -> Weight:
    """A weight with each output ``[out, ...]`` multiplied by ``scale [out]``."""
    if isinstance(weight, Dense):
        factor = scale.view(-1, *[1] * (weight.mean.dim() - 1))
        spread = None if weight.variance is None else weight.variance * factor.square()
        return Dense(weight.mean * factor, spread)
    by_entry = scale.repeat_interleave(weight.crow.diff().long())
    spread = None if weight.variance is None else weight.variance * by_entry.square()
    return Sparse(weight.mean * by_entry, spread, weight.crow, weight.col, weight.shape)


class Traced(Tensor):
    """A value of a program, for one batch; its shape is that of the network's tensor, ``[B, *shape]``.

    Attributes:
        program: that it is a value of.
        before_relu: the value whose ReLU it is, or None.
        averages: the map whose average over all positions it is, or None.
        is_average: whether it is an average over positions or a vector computed from one: its variance contains the
            errors that positions share.
    """

    program: TracedProgram
    averages: Traced | None
    _maker: Callable[[], Means | None] | None
    _model: Means | None
    _average: bool
    _joint: Value | None
    _spreads: Value | None
    before_relu: Traced | None
    _emit: Emit
    _found: Value | None

    @staticmethod
    def __new__(
        cls, program: TracedProgram, shape: tuple[int, ...], emit: Emit, before_relu: Traced | None = None
    ) -> Traced:
        made: Traced = Tensor._make_wrapper_subclass(
            cls, (program.batch, *shape), dtype=torch.float32, device=torch.device("cpu")
        )
        made.program, made._emit, made._found, made.before_relu = program, emit, None, before_relu
        made.averages = made._maker = made._model = made._joint = made._spreads = None
        made._average = False
        return made

    @property
    def value(self) -> Value:
        """Its value in the program; adds the steps that compute it."""
        if not self.is_average:
            return self.alone
        if self._joint is None:
            self._joint = sharing.joint(self)
        return self._joint

    @property
    def alone(self) -> Value:
        """The same with the variance that independent positions would give."""
        if self._found is None:
            before = self.before_relu
            if before is None:
                self._found = self._emit(False)
            elif before.shared is not None:
                self._found = self.program.relu(before.value)
            elif before._found is not None:
                self._found = self.program.relu(before._found)
            else:
                self._found = before._emit(True)
        return self._found

    @property
    def shared(self) -> Means | None:
        """The model of the errors that its positions share; None: they are independent, or models are not followed."""
        if self._maker is not None and self.program.models:
            maker, self._maker = self._maker, None
            self._model = maker()
        return self._model

    @property
    def is_average(self) -> bool:
        return self._average and self.shared is not None

    @property
    def spreads(self) -> Value:
        """:meth:`szilard.kernels.inference.Program.spreads` of it; of an average, of the map that was averaged."""
        if self._spreads is None:
            source = self.averages if self.is_average else None
            self._spreads = self.program.spreads(self.value) if source is None else source.spreads
        return self._spreads

    def sharing(
        self, maker: Callable[[], Means | None], average: bool = False, averages: Traced | None = None
    ) -> Traced:
        """This tensor with the model that a function makes when it is needed.

        Args:
            maker: gives the model or None.
            average: whether this is a vector computed from an average over positions.
            averages: the map whose average over all positions this is.
        """
        self._maker, self._average, self.averages = maker, average or averages is not None, averages
        if averages is not None:
            self.program.averages = True
        return self

    @property
    def layer(self) -> Layer | None:
        """The layer that computes it, if nothing has used its output yet."""
        fresh = self._found is None and self.before_relu is None and not self.is_average
        return self._emit if fresh and isinstance(self._emit, Layer) else None

    @property
    def sizes(self) -> tuple[int, ...]:
        """Shape of one example."""
        return self._found.shape if self._found is not None else tuple(int(n) for n in self.shape[1:])

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"Traced({list(self.sizes)})"

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return RULES.apply(func, args, kwargs or {})

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        # Only code that bypasses the Python functions of torch comes here.
        raise SzilardError(f"{LACKS} {func}; choose another backend, such as onnx")


def made(program: TracedProgram, value: Value) -> Traced:
    """A traced tensor of a value that exists."""
    answer = Traced(program, value.shape, lambda relu: value)
    answer._found = value
    return answer


def later(like: Traced, shape: tuple[int, ...], emit: Emit) -> Traced:
    """A traced tensor whose step is added when it is needed.

    Args:
        emit: it must compute a ReLU after the step if it is called with True.
    """
    return Traced(like.program, shape, emit)
