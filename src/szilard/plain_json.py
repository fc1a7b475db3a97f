"""JSON from untrusted files."""

from __future__ import annotations

import json
import math
from typing import Any

_LONGEST_INTEGER = 18  # digits; below 2^63


def loads(text: str | bytes) -> Any:
    """A value of JSON: NaN and infinite numbers become None, integers above 64 bits become floats.

    Raises:
        ValueError: not JSON, not UTF-8, nested too deeply, or a duplicate name.
    """
    try:
        return json.loads(
            text.decode("utf-8") if isinstance(text, bytes) else text,
            object_pairs_hook=_table,
            parse_float=_number,
            parse_int=_integer,
            parse_constant=lambda _: None,
        )
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("duplicate name")
    return table


def _number(digits: str) -> float | None:
    value = float(digits)
    return value if math.isfinite(value) else None


def _integer(digits: str) -> int | float | None:
    return int(digits) if len(digits) <= _LONGEST_INTEGER else _number(digits)
