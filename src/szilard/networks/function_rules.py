"""Tables of rules for functions of torch, which tensor subclasses use in ``__torch_function__``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from szilard.errors import SzilardError

Rule = Callable[..., Any]
_R = TypeVar("_R", bound=Rule)

#: Functions that read the shape or the type and no numbers.
_METADATA = frozenset(
    getattr(Tensor, name)
    for name in (
        "size", "dim", "ndimension", "numel", "nelement", "stride", "is_contiguous", "is_floating_point", "is_complex",
        "get_device", "element_size", "storage_offset", "__len__", "__hash__", "__repr__", "__str__", "__format__",
        "type",
    )
) | {torch.numel, torch.is_floating_point, torch.is_complex, torch.is_tensor}  # fmt: skip


class FunctionRules:
    """A table from functions of torch to the functions that replace them.

    Args:
        missing: the error message for a function without a rule, from its name.
    """

    def __init__(self, missing: Callable[[str], str]) -> None:
        self._missing = missing
        self._rules: dict[Any, Rule] = {}

    def rule(self, *names: str) -> Callable[[_R], _R]:
        """Register a function as the rule of every function of torch with one of these names.

        A name is searched in ``torch``, ``torch.Tensor``, ``torch.nn.functional`` and ``torch.special``, so that one
        rule serves ``torch.relu(x)``, ``x.relu()`` and ``F.relu(x)``.

        Raises:
            KeyError: torch has no function of that name.
        """

        def register(function: _R) -> _R:
            for name in names:
                found = [getattr(place, name, None) for place in (torch, Tensor, F, torch.special)]
                keys = [one.__get__ if _is_property(one) else one for one in found]
                keys = [key for key in keys if callable(key)]  # not torch.float, which is a type of numbers
                if not keys:
                    raise KeyError(name)
                self._rules.update(dict.fromkeys(keys, function))
            return function

        return register

    def apply(self, function: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Call the rule of a function of torch; functions that only read shapes and types need none.

        Raises:
            SzilardError: there is no rule.
        """
        found = self._rules.get(function)
        if found is not None:
            return found(*arguments, **named)
        if function in _METADATA or getattr(function, "__name__", "") in ("__get__", "__set__"):
            with torch._C.DisableTorchFunctionSubclass():
                return function(*arguments, **named)
        raise SzilardError(self._missing(name_of(function)))

    def names(self) -> list[str]:
        """Names of all functions that have a rule, sorted."""
        return sorted({name_of(function) for function in self._rules})


def name_of(function: Any) -> str:
    """Name of a function of torch, as a user writes it: ``cumsum``, or ``Tensor.T``."""
    name = getattr(function, "__name__", str(function))
    if name == "__get__":
        return f"Tensor.{getattr(function.__self__, '__name__', '?')}"
    return str(name)


def _is_property(found: Any) -> bool:
    return type(found).__name__ in ("getset_descriptor", "property")
