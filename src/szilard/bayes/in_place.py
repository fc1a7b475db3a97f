"""Replace a module by another one while it stays the same object."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from szilard.bayes.weight import Weight

#: Attributes in which torch keeps its state; ``_flat_weights`` is the list that LSTMs keep of their weights.
_TORCHS = frozenset({"_parameters", "_buffers", "_modules", "_flat_weights"})


def replace_in_place(module: nn.Module, other: nn.Module) -> None:
    """Give a module the class and content of ``other``, which must not be used afterwards.

    Everything that refers to the module (its parents, a plain list in one of them, a hook) then refers to the new one.
    """
    object.__setattr__(module, "__class__", type(other))
    object.__setattr__(module, "__dict__", dict(vars(other)))


def unregistered(network: nn.Module) -> dict[int, Any]:
    """Modules and tensors in plain attributes, lists, tuples, sets or dicts of a network, by id.

    torch does not know of these: they are neither registered nor replaced.
    """
    found: dict[int, Any] = {}
    for module in network.modules():
        if isinstance(module, Weight):  # refers to its layer
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
