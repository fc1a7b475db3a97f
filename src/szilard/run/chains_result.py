"""The figures on chains in ``result.json``."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

_COUNTS = ("chains", "draws", "diverged", "gradients")
_FIGURES = ("rhat", "ess_bulk", "ess_tail")


def is_valid(value: Any, is_number: Callable[[Any], bool]) -> bool:
    """Whether a value of the file is figures on chains."""
    return (
        isinstance(value, dict)
        and all(type(value.get(key)) is int and 0 <= value[key] < 1 << 53 for key in _COUNTS)
        and value["chains"] > 0
        and value["draws"] > 0
        and all(
            value.get(key) is None or (is_number(value[key]) and 0 <= value[key] < math.inf)
            for key in _FIGURES
        )
        and isinstance(value.get("worst"), str)
    )


def converted(value: dict[str, Any], text: Callable[[Any], str]) -> dict[str, Any]:
    """The known entries, with the types that a page expects."""
    found: dict[str, Any] = {key: value[key] for key in _COUNTS}
    found |= {key: None if value.get(key) is None else float(value[key]) for key in _FIGURES}
    return found | {"worst": text(value["worst"])}
