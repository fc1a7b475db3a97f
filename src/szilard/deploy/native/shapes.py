"""Functions that move numbers, as steps of a program."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from szilard.deploy.native import sharing
from szilard.deploy.native.products import linear_layer
from szilard.deploy.native.rule_table import RULES, axes_of
from szilard.deploy.native.traced import Dense, Traced, made
from szilard.errors import SzilardError

rule = RULES.rule


def _reshaped(input: Traced, shape: Sequence[int]) -> Traced:
    wanted = [int(n) for n in shape]
    if not wanted or wanted[0] not in (-1, input.program.batch) or len(wanted) < 2:
        raise SzilardError(
            "the native backend keeps the batch as the first axis; choose another backend, such as onnx"
        )
    rest = wanted[1:]
    size = math.prod(input.sizes)
    if -1 in rest:
        known = -math.prod(rest)
        rest = [size // known if n == -1 else n for n in rest]
    if rest[0] != input.sizes[0]:
        return made(input.program, input.program.reshape(input.value, rest))
    answer = made(input.program, input.program.reshape(input.alone, rest))
    if len(rest) == 1 and len(input.sizes) > 1:  # its only position is its mean
        input.program.averages = True
    if input.is_average:
        return answer.sharing(lambda: input.shared, average=True, averages=input.averages)
    return answer.sharing(lambda: input.shared)


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
    axes = range(1, len(shape)) if dim is None else [d % len(shape) for d in axes_of(dim, 1)]
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
        raise SzilardError(
            "the native backend concatenates values along channels only; choose another backend, such as onnx"
        )
    answer = made(first.program, first.program.concat([x.value for x in tensors]))
    return answer.sharing(sharing.joined(tensors))


def _with_constant(x: Traced, values: Tensor, dim: int) -> Traced:
    """``x`` and constants after it, as a linear map: the identity with a bias."""
    if len(x.sizes) != 1 or dim not in (1, -1) or values.dim() != 2 or not bool((values == values[0]).all()):
        raise SzilardError(
            "the native backend appends constants to features [B, k] only, the same for all examples; choose "
            "another backend, such as onnx"
        )
    count, more = x.sizes[0], values.shape[1]
    weight = torch.eye(count + more, count)
    x = made(
        x.program, x.value
    )  # what its entries share ends here, as in concatenations of vectors with constants
    return linear_layer(x, Dense(weight), torch.cat((torch.zeros(count), values[0].detach().float())))


@rule("expand_as")
def _expand_as(input: Tensor, other: Traced) -> Tensor:
    return input.expand(tuple(int(n) for n in other.shape))


@rule("__getitem__")
def _getitem(input: Traced, index: Any) -> Traced:
    index = index if isinstance(index, tuple) else (index,)
    whole = slice(None)
    if not all(isinstance(part, slice) for part in index) or index[0] != whole:
        raise SzilardError(
            "the native backend indexes with slices of channels and steps of positions only; choose another backend, "
            "such as onnx"
        )
    parts = [*index, *[whole] * (len(input.shape) - len(index))][1:]
    channels, positions = parts[0], parts[1:]
    start, stop, step = channels.indices(input.sizes[0])
    strides = [1 if part.step is None else part.step for part in positions]
    if step != 1 or any(part.start not in (None, 0) or part.stop is not None for part in positions):
        raise SzilardError(
            "the native backend indexes with slices of channels and steps of positions only; choose another backend, "
            "such as onnx"
        )
    value = input.program.channels(input.value, stop - start, -start, tuple(strides) or 1)
    return made(input.program, value).sharing(sharing.window(input, start, stop - start))


@rule("pad")
def _pad(input: Traced, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Traced:
    axes = len(input.sizes) - 1
    if mode != "constant" or value not in (None, 0):
        raise SzilardError("the native backend pads with zeros only; choose another backend, such as onnx")
    pairs = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)]  # from the last axis on
    if any(p != (0, 0) for p in pairs[:axes]) or len(pairs) != axes + 1 or min(pairs[axes]) < 0:
        raise SzilardError("the native backend pads channels only; let the convolution pad positions")
    before, after = pairs[axes]
    count = input.sizes[0] + before + after
    answer = made(input.program, input.program.channels(input.value, count, before))
    return answer.sharing(sharing.window(input, -before, count))


@rule(
    "dropout", "dropout1d", "dropout2d", "dropout3d", "contiguous", "detach", "clone", "to", "float", "type_as",
)  # fmt: skip
def _nothing(input: Traced, *arguments: Any, training: bool = False, **named: Any) -> Traced:
    if training:
        raise SzilardError("the native backend has no dropout; put the network in eval mode")
    return input
