"""How channels pass through functions that only move numbers: the function itself moves their channels."""

from __future__ import annotations

import operator
from typing import Any

from torch import Tensor, fx
from torch.nn import functional as F

from szilard.compression.channels.call import Call, Found
from szilard.compression.channels.marks import ANY, condensed


def moved(call: Call) -> Found:
    """A function of one tensor, such as ``view``, ``permute``, ``split`` and ``flatten``."""
    first = call.arg(0, "input")
    return _moved(call, [first], lambda spread: _again(call, spread[0]))


def cat(call: Call) -> Found:
    """Tensors one behind the other."""
    parts = call.arg(0, "tensors")
    if not isinstance(parts, tuple | list):
        return call.unknown()
    others = {name: value for name, value in call.node.kwargs.items() if name != "tensors"}
    function: Any = call.node.target
    return _moved(call, list(parts), lambda spread: function(spread, *call.node.args[1:], **others))


def indexed(call: Call) -> Found:
    """One entry of a tuple, or a part of a tensor."""
    first, index = call.node.args
    assert isinstance(first, fx.Node)
    found = call.walk.found.get(first)
    if isinstance(found, list):
        fits = isinstance(index, int) and isinstance(call.walk.traced.values[first], tuple | list)
        return found[index] if fits else call.unknown()  # type: ignore[index]
    if found is None:
        return None  # of a size
    return _moved(call, [first], lambda spread: operator.getitem(spread[0], call.real(index)))


def padded(call: Call) -> Found:
    """``F.pad``: with a constant at positions or at channels, with other modes at positions."""
    width, mode = call.real(call.arg(1, "pad")), call.arg(2, "mode", "constant")
    first = call.arg(0, "input")
    marks = call.marks(first)
    if marks is not None and len(width) <= 2 * (len(call.shape(first)) - 1 - marks.axis):
        return marks
    fits = mode == "constant" and all(isinstance(one, int) and one >= 0 for one in width)
    return (
        _moved(call, [first], lambda spread: F.pad(spread[0], tuple(width), value=ANY))
        if fits
        else call.unknown()
    )


def padded_by_module(call: Call) -> Found:
    """Constant padding at positions."""
    module: Any = call.module
    marks, first = call.marks(call.arg(0, "input")), call.arg(0, "input")
    width = module.padding
    if marks is None or marks.axis != 1 or len(width) > 2 * (len(call.shape(first)) - 2):
        return call.unknown()
    return _moved(call, [first], lambda spread: F.pad(spread[0], tuple(width), value=ANY))


def _again(call: Call, spread: Tensor) -> Any:
    if isinstance(call.node.target, str):
        if call.node.op == "call_module":
            return call.module(spread)
        args, kwargs = call.real(call.node.args[1:]), call.real(call.node.kwargs)
        return getattr(spread, call.node.target)(*args, **kwargs)
    args, kwargs = call.real(call.node.args), dict(call.real(call.node.kwargs))
    if call.node.args:
        return call.node.target(spread, *args[1:], **kwargs)
    return call.node.target(**{**kwargs, "input": spread})


def _moved(call: Call, tensors: list[Any], function: Any) -> Found:
    """Marks after a function that moves the numbers of some tensors."""
    marks = [call.marks(one) for one in tensors]
    others = [node for node in call.node.all_input_nodes if node not in tensors]
    if None in marks or not marks or any(isinstance(call.walk.traced.values[one], Tensor) for one in others):
        return call.unknown()
    spread = [one.spread(call.shape(at)) for one, at in zip(marks, tensors, strict=True) if one is not None]
    try:
        result = function(spread)
    except (RuntimeError, TypeError, NotImplementedError, IndexError):
        # The function does not take int64, in which channels are numbered: they stay, and the reason names it.
        return call.unknown()
    return _condensed(call, result, call.value)


def _condensed(call: Call, result: Any, value: Any) -> Found:
    if isinstance(result, Tensor) and isinstance(value, Tensor) and result.shape == value.shape:
        return condensed(result, call.walk.ties)
    if isinstance(result, tuple | list) and isinstance(value, tuple | list) and len(result) == len(value):
        return [_condensed(call, one, other) for one, other in zip(result, value, strict=True)]
    return call.unknown()
