"""Rewrites the constants of a graph that say how many channels a tensor has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from szilard.compression.channels.names import name_of

_SIZED = {"view", "reshape", "expand", "unflatten"}
_PARTS = {"chunk", "split", "tensor_split"}


@dataclass(frozen=True)
class Layout:
    """The channels of a tensor in a graph.

    Attributes:
        shape: of the tensor in the original network.
        axis: of its channels.
        stays: whether each index along the axis stays.
    """

    shape: tuple[int, ...]
    axis: int
    stays: tuple[bool, ...]

    @property
    def small(self) -> tuple[int, ...]:
        """Shape of the tensor in the smaller network."""
        sizes = list(self.shape)
        if sizes:
            sizes[self.axis] = sum(self.stays)
        return tuple(sizes)


Layouts = Layout | list[Any] | None


def rewrite(
    node: fx.Node, module: nn.Module | None, args: Sequence[Any], given: Layouts, result: Layouts
) -> None:
    """Change the constants of one call so that it takes and returns the smaller tensors.

    Args:
        node: of the new graph; it is changed, and so is ``module``.
        module: that it calls, or None.
        args: of the call in the original network, with numbers in place of nodes that return numbers.
        given: of the call's first tensor.
        result: of what the call returns.
    """
    if isinstance(module, nn.Unflatten) and isinstance(result, Layout):
        first = int(module.dim) % (len(result.shape) - len(module.unflattened_size) + 1)
        module.unflattened_size = result.small[first : first + len(module.unflattened_size)]
    if node.op not in ("call_function", "call_method") or not isinstance(given, Layout):
        return
    name = name_of(node)
    if name in _SIZED and isinstance(result, Layout):
        _sizes(node, name, result)
    elif name == "pad" and isinstance(result, Layout):
        _pad(node, args, result)
    elif name == "getitem" and isinstance(result, Layout):
        node.args = (node.args[0], _index(node.args[1], args[1], given))
    elif name in _PARTS and isinstance(result, list):
        _parts(node, given, result)
    elif name in ("narrow", "select") and isinstance(result, Layout):
        _part(node, args, given)
    elif name == "squeeze" and len(node.args) == 1 and not node.kwargs and _alone(given):
        # Without an argument, it would remove the axis of channels, too.
        ones = tuple(axis for axis, size in enumerate(given.shape) if size == 1)
        node.args = (node.args[0], ones)


def _alone(given: Layout) -> bool:
    return given.small[given.axis] == 1 < given.shape[given.axis]


def _sizes(node: fx.Node, name: str, result: Layout) -> None:
    """Sizes among the arguments, which are those of the last axes of the result."""
    start = 2 if name == "unflatten" else 1
    args = list(node.args)
    nested = len(args) > start and isinstance(args[start], tuple | list)
    sizes: list[Any] = list(args[start]) if nested else args[start:]  # type: ignore[arg-type]
    key = next((key for key in ("shape", "size", "sizes") if key in node.kwargs), None)
    if key is not None:
        sizes = list(node.kwargs[key])  # type: ignore[arg-type]
    first = len(result.shape) - len(sizes)
    if name == "unflatten":
        dim = args[1] if len(args) > 1 else node.kwargs["dim"]
        assert isinstance(dim, int)
        first = dim % (len(result.shape) - len(sizes) + 1)
    place = result.axis - first
    if not 0 <= place < len(sizes) or not isinstance(sizes[place], int) or sizes[place] == -1:
        return
    sizes[place] = result.small[result.axis]
    if key is not None:
        node.kwargs = {**node.kwargs, key: tuple(sizes)}
    else:
        node.args = (*args[:start], tuple(sizes)) if nested else (*args[:start], *sizes)


def _pad(node: fx.Node, args: Sequence[Any], result: Layout) -> None:
    width: Any = list(node.args[1] if len(node.args) > 1 else node.kwargs["pad"])  # type: ignore[arg-type]
    numbers = list(args[1]) if len(args) > 1 else width
    place = 2 * (len(result.shape) - 1 - result.axis)
    if place >= len(width):
        return
    before, behind = numbers[place : place + 2]
    width[place] = sum(result.stays[:before])
    width[place + 1] = sum(result.stays[len(result.stays) - behind :])
    if len(node.args) > 1:
        node.args = (node.args[0], tuple(width), *node.args[2:])
    else:
        node.kwargs = {**node.kwargs, "pad": tuple(width)}


def _index(index: Any, numbers: Any, given: Layout) -> Any:
    """An index whose part for the axis of channels selects the same ones in the smaller tensor."""
    parts = list(index) if isinstance(index, tuple) else [index]
    known = numbers if isinstance(numbers, tuple) else (numbers,)
    taken = sum(part is not None and part is not Ellipsis for part in parts)
    axis = 0
    for place, part in enumerate(parts):
        if part is None:
            continue
        if part is Ellipsis:
            axis += len(given.shape) - taken
            continue
        if axis == given.axis:
            parts[place] = _selected(known[place], given.stays)
            break
        axis += 1
    return tuple(parts) if isinstance(index, tuple) else parts[0]


def _selected(part: Any, stays: Sequence[bool]) -> Any:
    chosen = torch.arange(len(stays))[part]
    new = [sum(stays[:place]) for place in chosen.reshape(-1).tolist() if stays[place]]
    if chosen.dim() == 0:
        return new[0]
    start = new[0] if new else 0
    return slice(start, start + len(new)) if new == list(range(start, start + len(new))) else new


def _parts(node: fx.Node, given: Layout, result: list[Any]) -> None:
    dim = node.args[2] if len(node.args) > 2 else node.kwargs.get("dim", 0)
    assert isinstance(dim, int)
    if dim % len(given.shape) != given.axis:
        return
    sizes = [sum(one.stays) for one in result]
    if node.op == "call_method" and _again(node, name_of(node), given, sizes):
        return
    first = node.args[0] if node.args else node.kwargs["input"]
    node.op, node.target = "call_method", "split"
    node.args, node.kwargs = (first, sizes, given.axis), {}


def _again(node: fx.Node, name: str, given: Layout, sizes: list[int]) -> bool:
    """Whether the call as it is makes parts of these sizes."""
    small = torch.empty(given.small, device="meta")
    other = [one if not isinstance(one, fx.Node) else None for one in node.args[1:]]
    if None in other or any(isinstance(one, fx.Node) for one in node.kwargs.values()):
        return False
    try:
        parts = getattr(small, name)(*other, **node.kwargs)
    except (RuntimeError, TypeError):
        return False
    return [part.shape[given.axis] for part in parts] == sizes


def _part(node: fx.Node, args: Sequence[Any], given: Layout) -> None:
    """``narrow`` and ``select`` along the axis of channels."""
    if node.kwargs:
        return
    dim, start, *length = args[1:]
    if dim % len(given.shape) != given.axis:
        return
    start %= len(given.stays)
    new = sum(given.stays[:start])
    more = [sum(given.stays[start : start + length[0]])] if length else []
    node.args = (node.args[0], dim, new, *more)
