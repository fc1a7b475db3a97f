"""How channels pass through functions: of every number, of several tensors, of positions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from torch import Tensor, fx

from szilard.compression.channels.call import Call, Found
from szilard.compression.channels.marks import Marks


def by_number(call: Call) -> Found:
    """A function of every number of one tensor."""
    nodes = call.node.all_input_nodes
    marks = call.marks(nodes[0]) if len(nodes) == 1 else None
    fits = marks is not None and isinstance(call.value, Tensor) and call.value.shape == call.shape(nodes[0])
    return marks if fits else call.unknown()


def like(call: Call) -> Found:
    """A tensor with the type of another one."""
    first = call.arg(0, "self")
    others = [node for node in call.node.all_input_nodes if node is not first]
    return call.marks(first) or call.unknown() if len(others) < 2 else call.unknown()


def alike(call: Call) -> Found:
    """A tensor that is broadcast to the shape of another one."""
    operands = [call.arg(0, "self"), call.arg(1, "other")]
    return call.unknown() if None in map(call.marks, operands) else joined(call, operands)


def several(call: Call) -> Found:
    """A function of numbers at the same place in two tensors: channels at the same index are tied."""
    operands = [call.arg(0, "input"), call.arg(1, "other")]
    extra = [node for node in call.node.all_input_nodes if node not in operands]
    tensors = [one for one in operands if call.marks(one) is not None]
    # A number that is computed from a shape can change with the number of channels.
    if extra or any(isinstance(one, fx.Node) for one in operands if one not in tensors):
        return call.unknown()
    return joined(call, tensors) if tensors else call.unknown()


def joined(call: Call, operands: Sequence[Any]) -> Found:
    """Marks of a tensor that depends on the same place in each of some tensors, which are broadcast."""
    dims, ties = len(call.value.shape), call.walk.ties
    # Axes count from behind, as in broadcasting.
    given = [
        (marks.axis - len(call.shape(one)), marks)
        for one in operands
        if (marks := call.marks(one)) is not None and len(call.shape(one))
    ]
    if not given:
        return call.unknown()
    axis, main = max(
        given,
        key=lambda pair: (len(pair[1].channels) == call.value.shape[pair[0]], len(set(pair[1].channels))),
    )
    for other_axis, other in given:
        if other is main:
            continue
        if other_axis == axis and len(other.channels) == len(main.channels):
            for one, two in zip(main.channels, other.channels, strict=True):
                ties.tie(one, two)
            continue
        # Broadcast over the channels of the main operand, or with channels along another axis.
        call.fix(other, f"{call.name} combines its channels with those of another tensor")
    for one in operands:
        shape, marks = call.shape(one), call.marks(one)
        if marks is not None and marks is not main and marks.axis - len(shape) != axis:
            size = shape[axis] if len(shape) >= -axis else 1
            if size > 1:
                call.fix(main, f"{call.name} combines its channels with a tensor that has others")
    return Marks(dims + axis, main.channels)


def by_position(call: Call) -> Found:
    """Pooling and interpolation, which act on all axes behind the first two."""
    # Sizes, too, can be computed from a tensor.
    nodes = [node for node in call.node.all_input_nodes if call.walk.found.get(node) is not None]
    marks = call.marks(nodes[0]) if len(nodes) == 1 else None
    fits = marks is not None and marks.axis == 1 and isinstance(call.value, Tensor)
    kind = call.name if call.node.op != "call_module" else type(call.module).__name__
    dims = len(call.shape(nodes[0]))
    # With another number of axes, a pool of torch takes the batch for channels, and channels for positions.
    named = re.search(r"(\d)d$", kind)
    fits = fits and call.value.dim() == dims > 2 and (named is None or dims == int(named[1]) + 2)
    return marks if fits and call.value.shape[:2] == call.shape(nodes[0])[:2] else call.unknown()


def extreme(call: Call) -> Found:
    """``max`` and ``min`` of two tensors, or over one axis."""
    if call.marks(call.arg(1, "other")) is not None:
        return several(call)
    first, axis = call.arg(0, "input"), call.real(call.arg(1, "dim"))
    marks = call.marks(first)
    if marks is None or not isinstance(axis, int) or len(call.node.all_input_nodes) != 1:
        return call.unknown()
    dims = len(call.shape(first))
    if axis % dims == marks.axis:
        return call.unknown()
    less = axis % dims < marks.axis and not call.arg(2, "keepdim", False)
    return [Marks(marks.axis - less, marks.channels)] * 2


def reduced(call: Call) -> Found:
    """A mean, sum or largest number over axes without channels."""
    first = call.arg(0, "input")
    marks, over = call.marks(first), call.real(call.arg(1, "dim"))
    keep = call.arg(2, "keepdim", False)
    if marks is None or over is None or not isinstance(call.value, Tensor):
        return call.unknown()
    dims = len(call.shape(first))
    axes = {axis % dims for axis in ([over] if isinstance(over, int) else over)}
    if not axes or marks.axis in axes:
        return call.unknown()
    before = 0 if keep else sum(axis < marks.axis for axis in axes)
    return Marks(marks.axis - before, marks.channels)
