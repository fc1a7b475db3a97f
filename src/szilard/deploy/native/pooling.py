"""Pooling as steps of a program."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from szilard.deploy.native import sharing
from szilard.deploy.native.products import relu
from szilard.deploy.native.rule_table import RULES, axes_of
from szilard.deploy.native.traced import Traced, later, made
from szilard.errors import SzilardError

rule = RULES.rule


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
    if ceil_mode or return_indices or axes_of(dilation, axes) != (1,) * axes:
        raise SzilardError(
            "the native backend takes max-pooling without dilation, ceil_mode and indices only; choose "
            "another backend, such as onnx"
        )
    kernel, pads = axes_of(kernel_size, axes), axes_of(padding, axes)
    strides = kernel if stride in (None, [], ()) else axes_of(stride, axes)
    shape = (input.sizes[0], *_windows(input.sizes[1:], kernel, strides, pads))
    inner = input.before_relu
    source = input if inner is None else inner
    program = input.program
    pooled = later(
        input, shape, lambda relu: program.max_pool(source.value, kernel, strides, pads, relu=relu)
    )
    pooled = pooled.sharing(sharing.monotone(pooled, source))
    return pooled if inner is None else relu(pooled)


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
            "the native backend takes average pooling without ceil_mode and divisor_override only; choose "
            "another backend, such as onnx"
        )
    axes = len(input.sizes) - 1
    kernel = axes_of(kernel_size, axes)
    strides = kernel if stride in (None, [], ()) else axes_of(stride, axes)
    value = input.program.average_pool(
        input.value, kernel, strides, axes_of(padding, axes), count_include_pad
    )
    return _averaged(made(input.program, value), input)


def _averaged(answer: Traced, input: Traced) -> Traced:
    """Means of windows: one window of all positions, or several of equal size."""
    if math.prod(answer.sizes[1:]) == 1:
        return answer.sharing(lambda: input.shared, averages=input)
    return answer.sharing(lambda: input.shared)


@rule("adaptive_avg_pool1d", "adaptive_avg_pool2d")
def _adaptive_avg_pool(input: Traced, output_size: Any) -> Traced:
    sizes = input.sizes[1:]
    wanted = [n if m is None else m for n, m in zip(sizes, _given(output_size, len(sizes)), strict=True)]
    if any(n % m for n, m in zip(sizes, wanted, strict=True)):
        raise SzilardError(
            f"the native backend cannot average {list(sizes)} positions to {wanted}; choose another backend, "
            "such as onnx"
        )
    kernel = tuple(n // m for n, m in zip(sizes, wanted, strict=True))
    return _averaged(made(input.program, input.program.average_pool(input.value, kernel)), input)


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
        raise SzilardError(
            "the native backend takes means over all positions only; choose another backend, such as onnx"
        )
    value = input.program.global_average(input.value)
    if keepdim:
        value = input.program.reshape(value, (input.sizes[0], *[1] * (rank - 2)))
    return _averaged(made(input.program, value), input)
