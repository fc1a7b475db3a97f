"""Invalid JSON-like values: wrong types, sizes and ranges, and texts that no JSON writer produces."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from typing import Any

#: Placeholders for text that Python's JSON writer does not produce; :func:`text` replaces them.
LITERAL = "@@{}@@"
LITERALS = [
    "1e999",
    "-1e999",
    "NaN",
    "Infinity",
    "1" * 400,
    "1" * 5000,
    "1e-999",
    "-0",
    "-0.0",
    "0.1e1",
    "[" * 2000,
]
ESCAPES = ['"\\ud800"', '"\\u0000"', '"\\u001b[2J"', '"\\u202e"', '"a\\nb"']
ODD: Sequence[Any] = (
    None, True, False, 0, 1, -1, 2, 7, 10, 64, 255, 2**31 - 1, 2**31, 2**53, 2**63, -(2**63), 2**64, 10**30, 0.0, -0.0,
    0.5, -1.5, 1e-300, 1e300, "", "a", "0", "1", "nan", "x" * 2000, "../../x", "/", "\x1b[31m", "a\nb", "=cmd|x",
    [], [0], [1, 2, 3], [[]], [None], [-1], [2**62, 0], ["a"], {}, {"a": 1}, {"": None}, [1] * 9, [1] * 300,
)  # fmt: skip


def odd(rng: random.Random, extra: Sequence[Any] = ()) -> Any:
    """An unexpected value."""
    pick = rng.random()
    if extra and pick < 0.35:
        return rng.choice(extra)
    if pick < 0.5:
        return LITERAL.format(rng.choice(LITERALS))
    if pick < 0.55:
        return LITERAL.format(rng.choice(ESCAPES))
    return rng.choice(ODD)


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """Paths to all nested values, starting with the value itself."""
    found = [path]
    if isinstance(value, dict):
        for key in value:
            found += places(value[key], (*path, key))
    elif isinstance(value, list):
        for number in range(len(value))[:12]:
            found += places(value[number], (*path, number))
    return found


def change(value: Any, rng: random.Random, extra: Sequence[Any] = ()) -> Any:
    """A copy (of the containers) with one value changed, removed, duplicated or renamed."""
    path = rng.choice(places(value)[1:] or [()])
    if not path:
        return odd(rng, extra)
    return _at(value, path, rng, extra)


def _at(value: Any, path: tuple, rng: random.Random, extra: Sequence[Any]) -> Any:
    value = dict(value) if isinstance(value, dict) else list(value)
    key = path[0]
    if len(path) > 1:
        value[key] = _at(value[key], path[1:], rng, extra)
        return value
    how = rng.random()
    if how < 0.12:
        del value[key]
    elif how < 0.2 and isinstance(value, dict):
        value[odd_key(key, rng)] = value.pop(key)
    elif how < 0.25 and isinstance(value, list):
        value.insert(key, value[key])
    elif how < 0.3:
        value[key] = [value[key]]
    elif how < 0.45:
        value[key] = near(value[key], rng)
    else:
        value[key] = odd(rng, extra)
    return value


def near(value: Any, rng: random.Random) -> Any:
    """A different value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice(
            [-value, value + 1, value - 1, value * 2, value * 10**6, value << 40, float(value), str(value)]
        )
    if isinstance(value, float):
        return rng.choice([-value, value * 1e30, 0.0, int(value), str(value)])
    if isinstance(value, str):
        return rng.choice(
            [value + "x", value[:-1], value.upper(), value * 50, f" {value}", [value], value.encode().hex()]
        )
    if isinstance(value, list):
        return rng.choice(
            [value * 2, value[:-1], value[::-1], [*value, None], dict(enumerate(map(str, value)))]
        )
    return rng.choice([list(value), str(value)]) if isinstance(value, dict) else 0


def odd_key(key: Any, rng: random.Random) -> str:
    return rng.choice([f"{key} ", f"{key}x", "", "__class__", str(key).upper(), "\x1b[2J", "a\nb"])


def text(value: Any, rng: random.Random | None = None) -> bytes:
    """JSON with the placeholders replaced; sometimes with a duplicate key or an invalid UTF-8 byte."""
    found = json.dumps(value, ensure_ascii=False)
    found = re.sub(r'"@@(.*?)@@"', lambda match: json.loads(f'"{match[1]}"'), found)
    if rng is not None and rng.random() < 0.03:
        found = re.sub(r"^\{(\"[^\"]*\": *[^,{}\[\]]+)", r"{\1, \1", found)
    data = found.encode("utf-8", "surrogatepass")
    if rng is not None and rng.random() < 0.02:
        at = rng.randrange(len(data) + 1)
        data = (
            data[:at]
            + rng.choice([b"\xff", b"\x00", b"\xc0\x80", b"\xed\xa0\x80", b"\n", b"\xef\xbb\xbf"])
            + data[at:]
        )
    return data
