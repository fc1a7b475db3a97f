"""A module that turns into another one and stays the same object."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from szilard.bayes.weight import Weight

#: What torch keeps in a module itself; and LSTMs, a list of their own weights.
_TORCHS = frozenset({"_parameters", "_buffers", "_modules", "_flat_weights"})


def become(module: nn.Module, other: nn.Module) -> None:
    """Take over class and content of another module, which is not used any more.

    Whoever holds the module (its parents, a plain list in one of them, a hook) then holds the new one.
    """
    object.__setattr__(module, "__class__", type(other))
    object.__setattr__(module, "__dict__", dict(vars(other)))


def kept_aside(network: nn.Module) -> dict[int, Any]:
    """Modules and tensors by their ids that stand in plain attributes, lists, tuples, sets or dicts of a network.

    torch does not know of these places: what is put there is neither registered nor replaced.
    """
    found: dict[int, Any] = {}
    for module in network.modules():
        if isinstance(module, Weight):  # knows its layer
            continue
        for name, value in vars(module).items():
            if name not in _TORCHS and "hooks" not in name:
                for one in _inside(value, 0):
                    found[id(one)] = one
    return found


def _inside(value: Any, depth: int) -> Iterator[nn.Module | Tensor]:
    if isinstance(value, nn.Module | Tensor):
        yield value
    elif depth < 4 and type(value) in (list, tuple, set, dict):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _inside(one, depth + 1)
