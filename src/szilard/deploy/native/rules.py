"""What the native backend does for each function of torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from szilard.deploy.native.rule_table import RULES
from szilard.deploy.native.traced import Dense, Layer, Traced, Weight, later, made
from szilard.errors import SzilardError
from szilard.kernels.inference import Value

rule = RULES.rule


def _axes(value: Any, count: int) -> tuple[int, ...]:
    return (int(value),) * count if isinstance(value, int) else tuple(int(n) for n in value)


def _same(kernel: Sequence[int], dilation: Sequence[int]) -> list[tuple[int, int]]:
    totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    return [(total // 2, total - total // 2) for total in totals]


def _pairs(padding: Any, axes: int) -> list[tuple[int, int]]:
    """Padding before and after each axis, from one number for both."""
    each = (padding,) * axes if isinstance(padding, int) else tuple(padding)
    return [(p, p) if isinstance(p, int) else (int(p[0]), int(p[1])) for p in each]


def linear_layer(x: Traced, weight: Weight, bias: Tensor | None) -> Traced:
    """A linear map of the last axis."""
    if len(x.sizes) != 1:
        raise SzilardError(
            "the native backend takes linear layers of [B, features] only; choose another backend, such as onnx"
        )

    def emit(weight: Weight, bias: Tensor | None, relu: bool) -> Value:
        return x.program.linear(x.value, weight, bias, relu=relu)

    return later(x, (weight.shape[0],), Layer(weight, bias, emit))


def conv_layer(
    x: Traced, weight: Weight, bias: Tensor | None, stride: Any, padding: Any, dilation: Any, groups: int
) -> Traced:
    """A convolution over one or two axes."""
    axes = len(weight.shape) - 2
    strides, dilations = _axes(stride, axes), _axes(dilation, axes)
    kernel = weight.shape[2:]
    if padding == "valid":
        padding = 0
    pads = _same(kernel, dilations) if padding == "same" else _pairs(padding, axes)
    sizes = [
        (n + sum(p) - d * (k - 1) - 1) // s + 1
        for n, p, k, s, d in zip(x.sizes[1:], pads, kernel, strides, dilations, strict=True)
    ]

    def emit(weight: Weight, bias: Tensor | None, relu: bool) -> Value:
        return x.program.conv(
            x.value, weight, bias, stride=strides, padding=pads, dilation=dilations, groups=groups, relu=relu
        )

    return later(x, (weight.shape[0], *sizes), Layer(weight, bias, emit))


@rule("linear")
def _linear(input: Traced, weight: Tensor, bias: Tensor | None = None) -> Traced:
    return linear_layer(input, Dense(weight.detach()), None if bias is None else bias.detach())


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
    plain = None if bias is None else bias.detach()
    return conv_layer(input, Dense(weight.detach()), plain, stride, padding, dilation, groups)


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
        raise SzilardError("the native backend needs BatchNorm with running statistics")
    scale = torch.rsqrt(running_var + eps)
    scale = scale if weight is None else scale * weight.detach()
    shift = -running_mean * scale
    shift = shift if bias is None else shift + bias.detach()
    layer = input.layer
    if layer is not None:
        return later(input, input.sizes, layer.scaled(scale, shift))
    return later(input, input.sizes, lambda relu: input.program.affine(input.value, scale, shift, relu=relu))


@rule("relu", "relu_")
def _relu(input: Traced, inplace: bool = False) -> Traced:
    if input.before_relu is not None:
        return input
    answer = Traced(input.program, input.sizes, lambda relu: answer.value, before_relu=input)
    return answer


def _activation(name: str) -> Callable[..., Traced]:
    def run(input: Traced, inplace: bool = False) -> Traced:
        return made(input.program, getattr(input.program, name)(input.value))

    return run


for _name in ("sigmoid", "tanh", "silu"):
    rule(_name)(_activation(_name))


@rule("gelu")
def _gelu(input: Traced, approximate: str = "none") -> Traced:
    if approximate != "none":
        raise SzilardError("the native backend has no kernel for gelu with approximate='tanh'")
    return made(input.program, input.program.gelu(input.value))


@rule("leaky_relu", "leaky_relu_")
def _leaky_relu(input: Traced, negative_slope: float = 0.01, inplace: bool = False) -> Traced:
    return made(input.program, input.program.leaky_relu(input.value, negative_slope))


@rule("max_pool1d", "max_pool2d")
def _max_pool(
    input: Traced,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Traced:
    axes = len(input.sizes) - 1
    if ceil_mode or return_indices or _axes(dilation, axes) != (1,) * axes:
        raise SzilardError(
            "the native backend takes max-pooling without dilation, ceil_mode and indices only"
        )
    kernel, pads = _axes(kernel_size, axes), _axes(padding, axes)
    strides = kernel if stride in (None, [], ()) else _axes(stride, axes)
    shape = (input.sizes[0], *_windows(input.sizes[1:], kernel, strides, pads))
    inner = input.before_relu
    source = input if inner is None else inner
    program = input.program
    pooled = later(
        input, shape, lambda relu: program.max_pool(source.value, kernel, strides, pads, relu=relu)
    )
    return pooled if inner is None else _relu(pooled)


@rule("avg_pool1d", "avg_pool2d")
def _avg_pool(
    input: Traced,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Traced:
    if ceil_mode or divisor_override is not None:
        raise SzilardError(
            "the native backend takes average pooling without ceil_mode and divisor_override only"
        )
    axes = len(input.sizes) - 1
    kernel = _axes(kernel_size, axes)
    strides = kernel if stride in (None, [], ()) else _axes(stride, axes)
    value = input.program.average_pool(input.value, kernel, strides, _axes(padding, axes), count_include_pad)
    return made(input.program, value)


@rule("adaptive_avg_pool1d", "adaptive_avg_pool2d")
def _adaptive_avg_pool(input: Traced, output_size: Any) -> Traced:
    sizes = input.sizes[1:]
    wanted = [n if m is None else m for n, m in zip(sizes, _given(output_size, len(sizes)), strict=True)]
    if any(n % m for n, m in zip(sizes, wanted, strict=True)):
        raise SzilardError(f"the native backend cannot average {list(sizes)} positions to {wanted}")
    kernel = tuple(n // m for n, m in zip(sizes, wanted, strict=True))
    return made(input.program, input.program.average_pool(input.value, kernel))


def _given(size: Any, axes: int) -> tuple[Any, ...]:
    return (size,) * axes if isinstance(size, int) or size is None else tuple(size)


def _windows(
    sizes: Sequence[int], kernel: Sequence[int], stride: Sequence[int], pads: Sequence[int]
) -> list[int]:
    return [(n + 2 * p - k) // s + 1 for n, k, s, p in zip(sizes, kernel, stride, pads, strict=True)]


@rule("mean")
def _mean(input: Traced, dim: Any = None, keepdim: bool = False, **named: Any) -> Traced:
    rank = len(input.sizes) + 1
    axes = sorted(d % rank for d in ([dim] if isinstance(dim, int) else list(dim or [])))
    if rank < 3 or axes != list(range(2, rank)):
        raise SzilardError("the native backend takes means over all positions only")
    value = input.program.global_average(input.value)
    if keepdim:
        value = input.program.reshape(value, (input.sizes[0], *[1] * (rank - 2)))
    return made(input.program, value)


@rule("add", "__add__", "__radd__", "__iadd__", "add_")
def _add(input: Any, other: Any, *, alpha: float = 1) -> Traced:
    if alpha != 1 or not isinstance(input, Traced) or not isinstance(other, Traced) or input is other:
        raise SzilardError("the native backend adds two different values of the network only")
    if input.sizes != other.sizes:
        raise SzilardError("the native backend adds values of one shape only")
    return later(input, input.sizes, lambda relu: input.program.add(input.value, other.value, relu=relu))


def _reshaped(input: Traced, shape: Sequence[int]) -> Traced:
    wanted = [int(n) for n in shape]
    if not wanted or wanted[0] not in (-1, input.program.batch) or len(wanted) < 2:
        raise SzilardError("the native backend keeps the batch as the first axis")
    rest = wanted[1:]
    size = math.prod(input.sizes)
    if -1 in rest:
        known = -math.prod(rest)
        rest = [size // known if n == -1 else n for n in rest]
    value = input.program.reshape(input.value, rest)
    return made(input.program, value)


@rule("flatten")
def _flatten(input: Traced, start_dim: int = 0, end_dim: int = -1) -> Traced:
    shape = list(input.shape)
    start, end = start_dim % len(shape), end_dim % len(shape)
    if start == 0 and len(shape) > 1:
        raise SzilardError("the native backend keeps the batch as the first axis; flatten from axis 1 on")
    if end <= start:
        return input
    return _reshaped(input, [*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :]])


@rule("view", "reshape")
def _view(input: Traced, *shape: Any) -> Traced:
    return _reshaped(input, shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape)


@rule("squeeze")
def _squeeze(input: Traced, dim: Any = None) -> Traced:
    shape = list(input.shape)
    axes = range(1, len(shape)) if dim is None else [d % len(shape) for d in _axes(dim, 1)]
    kept = [n for axis, n in enumerate(shape) if axis == 0 or axis not in axes or n != 1]
    return _reshaped(input, kept if len(kept) > 1 else [*kept, 1])


@rule("unsqueeze")
def _unsqueeze(input: Traced, dim: int) -> Traced:
    shape = list(input.shape)
    shape.insert(dim % (len(shape) + 1), 1)
    return _reshaped(input, shape)


@rule("cat", "concat", "concatenate")
def _cat(tensors: Sequence[Any], dim: int = 0) -> Traced:
    first = tensors[0]
    if len(tensors) == 2 and isinstance(first, Traced) and not isinstance(tensors[1], Traced):
        return _with_constant(first, tensors[1], dim)
    if not all(isinstance(x, Traced) for x in tensors) or dim not in (1, 1 - len(first.shape)):
        raise SzilardError("the native backend concatenates values along channels only")
    return made(first.program, first.program.concat([x.value for x in tensors]))


def _with_constant(x: Traced, values: Tensor, dim: int) -> Traced:
    """``x`` and constants after it, as a linear map: the identity with a bias."""
    if len(x.sizes) != 1 or dim not in (1, -1) or values.dim() != 2 or not bool((values == values[0]).all()):
        raise SzilardError(
            "the native backend appends constants to features [B, k] only, the same for all examples"
        )
    count, more = x.sizes[0], values.shape[1]
    weight = torch.eye(count + more, count)
    return linear_layer(x, Dense(weight), torch.cat((torch.zeros(count), values[0].detach().float())))


@rule("expand_as")
def _expand_as(input: Tensor, other: Traced) -> Tensor:
    return input.expand(tuple(int(n) for n in other.shape))


@rule("__getitem__")
def _getitem(input: Traced, index: Any) -> Traced:
    index = index if isinstance(index, tuple) else (index,)
    whole = slice(None)
    if not all(isinstance(part, slice) for part in index) or index[0] != whole:
        raise SzilardError("the native backend indexes with slices of channels and steps of positions only")
    parts = [*index, *[whole] * (len(input.shape) - len(index))][1:]
    channels, positions = parts[0], parts[1:]
    start, stop, step = channels.indices(input.sizes[0])
    strides = [1 if part.step is None else part.step for part in positions]
    if step != 1 or any(part.start not in (None, 0) or part.stop is not None for part in positions):
        raise SzilardError("the native backend indexes with slices of channels and steps of positions only")
    value = input.program.channels(input.value, stop - start, -start, tuple(strides) or 1)
    return made(input.program, value)


@rule("pad")
def _pad(input: Traced, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Traced:
    axes = len(input.sizes) - 1
    if mode != "constant" or value not in (None, 0):
        raise SzilardError("the native backend pads with zeros only")
    pairs = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)]  # from the last axis on
    if any(p != (0, 0) for p in pairs[:axes]) or len(pairs) != axes + 1 or min(pairs[axes]) < 0:
        raise SzilardError("the native backend pads channels only; let the convolution pad positions")
    before, after = pairs[axes]
    count = input.sizes[0] + before + after
    return made(input.program, input.program.channels(input.value, count, before))


@rule(
    "dropout", "dropout1d", "dropout2d", "dropout3d", "contiguous", "detach", "clone", "to", "float", "type_as",
)  # fmt: skip
def _nothing(input: Traced, *arguments: Any, training: bool = False, **named: Any) -> Traced:
    if training:
        raise SzilardError("the native backend has no dropout; put the network in eval mode")
    return input
