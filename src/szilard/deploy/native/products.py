"""Linear maps, convolutions, normalisation, activations and sums as steps of a program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from szilard.bayes.moments.sharing import Window
from szilard.bayes.moments.value import GaussianTensor, split
from szilard.deploy.native import sharing
from szilard.deploy.native.rule_table import RULES, axes_of
from szilard.deploy.native.traced import Dense, Layer, Traced, Weight, later, made
from szilard.errors import SzilardError
from szilard.kernels.inference import Value

rule = RULES.rule


def _same(kernel: Sequence[int], dilation: Sequence[int]) -> list[tuple[int, int]]:
    totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    return [(total // 2, total - total // 2) for total in totals]


def _pairs(padding: Any, axes: int) -> list[tuple[int, int]]:
    """Padding before and after each axis, from one number for both."""
    each = (padding,) * axes if isinstance(padding, int) else tuple(padding)
    return [(p, p) if isinstance(p, int) else (int(p[0]), int(p[1])) for p in each]


def linear_layer(
    x: Traced, weight: Weight, bias: Tensor | None, bias_variance: Tensor | None = None
) -> Traced:
    """A linear map of the last axis."""
    if len(x.sizes) != 1:
        raise SzilardError(
            "the native backend takes linear layers of [B, features] only; choose another backend, such as onnx"
        )

    def emit(weight: Weight, bias: Tensor | None, spread: Tensor | None, relu: bool) -> Value:
        return x.program.linear(x.alone, weight, bias, spread, relu=relu)

    layer = Layer(weight, bias, emit, bias_variance, sharing.of_layer(x, None, ()))
    return later(x, (weight.shape[0],), layer).sharing(layer.shared, average=True)


def conv_layer(
    x: Traced,
    weight: Weight,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    bias_variance: Tensor | None = None,
) -> Traced:
    """A convolution over one or two axes."""
    axes = len(weight.shape) - 2
    strides, dilations = axes_of(stride, axes), axes_of(dilation, axes)
    kernel = weight.shape[2:]
    if padding == "valid":
        padding = 0
    pads = _same(kernel, dilations) if padding == "same" else _pairs(padding, axes)
    sizes = [
        (n + sum(p) - d * (k - 1) - 1) // s + 1
        for n, p, k, s, d in zip(x.sizes[1:], pads, kernel, strides, dilations, strict=True)
    ]

    def emit(weight: Weight, bias: Tensor | None, spread: Tensor | None, relu: bool) -> Value:
        return x.program.conv(
            x.value,
            weight,
            bias,
            spread,
            stride=strides,
            padding=pads,
            dilation=dilations,
            groups=groups,
            relu=relu,
        )

    window = Window(kernel, strides, tuple(before for before, _ in pads), dilations, groups)
    layer = Layer(weight, bias, emit, bias_variance, sharing.of_layer(x, window, sizes))
    return later(x, (weight.shape[0], *sizes), layer).sharing(layer.shared)


def _given(value: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """Mean and variance of a weight or bias of a module that the tracer calls; the variance of a number is None."""
    if value is None:
        return None, None
    mean, variance = split(value)
    return mean.detach().float(), None if variance is None else variance.detach().float()


def _dense(weight: Tensor) -> Dense:
    mean, variance = _given(weight)
    assert mean is not None
    return Dense(mean, variance)


@rule("linear")
def _linear(input: Traced, weight: Tensor, bias: Tensor | None = None) -> Traced:
    return linear_layer(input, _dense(weight), *_given(bias))


@rule("conv1d", "conv2d")
def _conv(
    input: Traced,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Traced:
    mean, variance = _given(bias)
    return conv_layer(input, _dense(weight), mean, stride, padding, dilation, groups, variance)


@rule("batch_norm")
def _batch_norm(
    input: Traced,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *_: object,
) -> Traced:
    if training or running_mean is None or running_var is None:
        raise SzilardError(
            "the native backend needs BatchNorm with running statistics; choose another backend, such as onnx"
        )
    if any(isinstance(value, GaussianTensor) for value in (weight, bias)):
        raise SzilardError(
            "the native backend has no kernel for BatchNorm with a Gaussian scale or shift; choose another backend, "
            "such as onnx"
        )
    scale = torch.rsqrt(running_var + eps)
    scale = scale if weight is None else scale * weight.detach()
    shift = -running_mean * scale
    shift = shift if bias is None else shift + bias.detach()
    layer = input.layer
    if layer is not None:
        folded = layer.scaled(scale, shift)
        return later(input, input.sizes, folded).sharing(folded.shared)
    found = later(input, input.sizes, lambda relu: input.program.affine(input.value, scale, shift, relu=relu))
    return found.sharing(sharing.scaled(input, scale))


@rule("relu", "relu_")
def relu(input: Traced, inplace: bool = False) -> Traced:
    if input.before_relu is not None:
        return input
    answer = Traced(input.program, input.sizes, lambda relu: answer.value, before_relu=input)
    return answer.sharing(sharing.monotone(answer, input))


def _activation(name: str) -> Callable[..., Traced]:
    def run(input: Traced, inplace: bool = False) -> Traced:
        return _elementwise(input, getattr(input.program, name)(input.value))

    return run


for _name in ("sigmoid", "tanh", "silu"):
    rule(_name)(_activation(_name))


@rule("gelu")
def _gelu(input: Traced, approximate: str = "none") -> Traced:
    if approximate != "none":
        raise SzilardError(
            "the native backend has no kernel for gelu with approximate='tanh'; choose another backend, such as onnx"
        )
    return _elementwise(input, input.program.gelu(input.value))


@rule("leaky_relu", "leaky_relu_")
def _leaky_relu(input: Traced, negative_slope: float = 0.01, inplace: bool = False) -> Traced:
    return _elementwise(input, input.program.leaky_relu(input.value, negative_slope))


def _elementwise(input: Traced, value: Value) -> Traced:
    """The value of a monotone function of each entry."""
    answer = made(input.program, value)
    return answer.sharing(sharing.monotone(answer, input))


@rule("add", "__add__", "__radd__", "__iadd__", "add_")
def _add(input: Any, other: Any, *, alpha: float = 1) -> Traced:
    if alpha != 1 or not isinstance(input, Traced) or not isinstance(other, Traced) or input is other:
        raise SzilardError(
            "the native backend adds two different values of the network only; choose another backend, such as onnx"
        )
    if input.sizes != other.sizes:
        raise SzilardError(
            "the native backend adds values of one shape only; choose another backend, such as onnx"
        )
    found = later(input, input.sizes, lambda relu: input.program.add(input.value, other.value, relu=relu))
    return found.sharing(sharing.summed(input, other), average=len(input.sizes) == 1)
