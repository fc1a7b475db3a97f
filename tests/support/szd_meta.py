"""Reads the metadata of a .szd file, written from docs/format.md."""

from __future__ import annotations

import json
import math
from typing import Any

from szd_bytes import inflate
from szd_streams import Refused, need

# -- tables ---------------------------------------------------------------------------------------------


def metadata(part: bytes) -> dict[str, Any]:
    if not part:
        return {}
    try:
        found = json.loads(
            inflate(part, 2**20).decode(),
            parse_constant=no_number,
            parse_int=whole,
            object_pairs_hook=entries_of,
        )
    except (ValueError, RecursionError) as error:
        raise Refused("the metadata are no JSON") from error
    need(isinstance(found, dict), "the metadata are no JSON object")
    check_json(found, 100)
    return found


def no_number(word: str) -> None:
    raise ValueError(word)


def whole(digits: str) -> int:
    need(len(digits.lstrip("-")) <= 309, "a whole number is too long")
    return int(digits)


def entries_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    need(len(found) == len(pairs), "an object has an entry twice")
    return found


def check_json(value: Any, depth: int) -> None:
    """Check for numbers within float64, valid Unicode text, and at most ``depth`` levels of lists and objects."""
    if isinstance(value, dict | list):
        need(depth > 0, "the metadata are too deep")
        for item in [*value, *value.values()] if isinstance(value, dict) else value:
            check_json(item, depth - 1)
    elif isinstance(value, str):
        need(not any("\ud800" <= letter <= "\udfff" for letter in value), "a text has half of a character")
    elif isinstance(value, int | float):
        try:
            need(math.isfinite(float(value)), "a number is too large")
        except OverflowError as error:
            raise Refused("a number is too large") from error


# -- products -------------------------------------------------------------------------------------------


def product_shapes(found: Any) -> dict[str, tuple[int, ...]]:
    need(isinstance(found, dict), "the products are no object")
    for shape in found.values():
        need(isinstance(shape, list) and 1 <= len(shape) <= 8, "a product has no shape")
        need(all(type(size) is int and size >= 0 for size in shape), "a product has no shape")
        need(math.prod(max(size, 1) for size in shape) <= 2**33, "a product is too large")
    return {name: tuple(shape) for name, shape in found.items()}
