"""The table of what the native backend does for each function of torch; the files beside this one fill it."""

from __future__ import annotations

from typing import Any

from szilard.networks.function_rules import FunctionRules

LACKS = "the native backend has no kernel for"  #: Before the name of an operation.
RULES = FunctionRules("a native kernel of", "choose another backend, such as onnx", LACKS)


def axes_of(value: Any, count: int) -> tuple[int, ...]:
    """A size, or one for each axis, as one for each axis."""
    return (int(value),) * count if isinstance(value, int) else tuple(int(n) for n in value)
