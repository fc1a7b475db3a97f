"""Tables of rules for functions of torch, which tensor subclasses use in ``__torch_function__``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from szilard.errors import SzilardError

Rule = Callable[..., Any]
_R = TypeVar("_R", bound=Rule)

#: Where a name is searched: in torch, among the methods of tensors, and in torch.nn.functional.
PLACES: tuple[Any, ...] = (torch, Tensor, F)

#: Functions that read the shape or the type and no numbers.
_METADATA: frozenset[Any] = frozenset(
    [
        getattr(Tensor, name)
        for name in (
            "size", "dim", "ndimension", "numel", "nelement", "stride", "is_contiguous", "is_floating_point",
            "is_complex", "get_device", "element_size", "storage_offset", "__len__", "__hash__", "__repr__", "__str__",
            "__format__", "type",
        )
    ]
    + [getattr(torch, name) for name in ("numel", "is_floating_point", "is_complex", "is_tensor")]
)  # fmt: skip


class FunctionRules:
    """A table from functions of torch to the functions that replace them.

    Args:
        purpose: what the rules compute of a function, as in "the mean and variance of"; for messages.
        advice: what to do about a function without a rule, the end of its message.
        lacks: the beginning of this message, before the name of the function.
    """

    def __init__(self, purpose: str, advice: str, lacks: str = "") -> None:
        self._purpose, self._advice = purpose, advice
        self._lacks = lacks or f"there is no rule for {purpose}"
        self._rules: dict[Any, Rule] = {}

    def rule(self, *names: str, places: Sequence[Any] = PLACES) -> Callable[[_R], _R]:
        """Register a function as the rule of every function of torch with one of these names.

        One rule serves ``torch.relu(x)``, ``x.relu()`` and ``F.relu(x)``.

        Args:
            names: of functions.
            places: where the names are searched; fewer places for names that mean different functions, or take their
                arguments in different orders.

        Raises:
            KeyError: there is no function of that name.
        """

        def register(function: _R) -> _R:
            for name in names:
                found: list[Any] = [getattr(place, name, None) for place in places]
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
            SzilardError: there is no rule, or it does not take these arguments.
        """
        found = self._rules.get(function)
        if found is not None:
            try:
                return found(*arguments, **named)
            except TypeError as error:
                raise SzilardError(
                    f"the rule for {self._purpose} {name_of(function)} does not take these arguments: {error}"
                ) from error
        if function in _METADATA or getattr(function, "__name__", "") == "__get__":
            with torch._C.DisableTorchFunctionSubclass():
                return function(*arguments, **named)
        raise SzilardError(f"{self._lacks} {name_of(function)}; {self._advice}")

    def names(self) -> list[str]:
        """Names of all functions that have a rule, sorted."""
        return sorted({name_of(function) for function in self._rules})

    def table(self) -> dict[Any, Rule]:
        """The rule of every function that has one; a copy."""
        return dict(self._rules)


def name_of(function: Any) -> str:
    """Name of a function of torch, as a user writes it: ``cumsum``, or ``Tensor.T``."""
    name = getattr(function, "__name__", str(function))
    if name in ("__get__", "__set__"):
        return f"Tensor.{getattr(function.__self__, '__name__', None) or 'T'}"
    return str(name)


def _is_property(found: Any) -> bool:
    return type(found).__name__ in ("getset_descriptor", "property")
