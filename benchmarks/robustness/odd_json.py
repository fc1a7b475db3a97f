"""JSON-like values made odd: wrong types, sizes and ranges, and texts that no writer would write."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from typing import Any

#: Stand-ins for what Python's JSON writer will not write; :func:`text` puts the text there.
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


def odd(more: random.Random, extra: Sequence[Any] = ()) -> Any:
    """A value that nobody expects."""
    pick = more.random()
    if extra and pick < 0.35:
        return more.choice(extra)
    if pick < 0.5:
        return LITERAL.format(more.choice(LITERALS))
    if pick < 0.55:
        return LITERAL.format(more.choice(ESCAPES))
    return more.choice(ODD)


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """Paths to every value inside, the value itself first."""
    found = [path]
    if isinstance(value, dict):
        for key in value:
            found += places(value[key], (*path, key))
    elif isinstance(value, list):
        for number in range(len(value))[:12]:
            found += places(value[number], (*path, number))
    return found


def change(value: Any, more: random.Random, extra: Sequence[Any] = ()) -> Any:
    """A copy (of the containers) with one value changed, left out, doubled or renamed."""
    path = more.choice(places(value)[1:] or [()])
    if not path:
        return odd(more, extra)
    return _at(value, path, more, extra)


def _at(value: Any, path: tuple, more: random.Random, extra: Sequence[Any]) -> Any:
    value = dict(value) if isinstance(value, dict) else list(value)
    key = path[0]
    if len(path) > 1:
        value[key] = _at(value[key], path[1:], more, extra)
        return value
    how = more.random()
    if how < 0.12:
        del value[key]
    elif how < 0.2 and isinstance(value, dict):
        value[odd_key(key, more)] = value.pop(key)
    elif how < 0.25 and isinstance(value, list):
        value.insert(key, value[key])
    elif how < 0.3:
        value[key] = [value[key]]
    elif how < 0.45:
        value[key] = near(value[key], more)
    else:
        value[key] = odd(more, extra)
    return value


def near(value: Any, more: random.Random) -> Any:
    """The same type and another value."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return more.choice(
            [-value, value + 1, value - 1, value * 2, value * 10**6, value << 40, float(value), str(value)]
        )
    if isinstance(value, float):
        return more.choice([-value, value * 1e30, 0.0, int(value), str(value)])
    if isinstance(value, str):
        return more.choice(
            [value + "x", value[:-1], value.upper(), value * 50, f" {value}", [value], value.encode().hex()]
        )
    if isinstance(value, list):
        return more.choice(
            [value * 2, value[:-1], value[::-1], [*value, None], dict(enumerate(map(str, value)))]
        )
    return more.choice([list(value), str(value)]) if isinstance(value, dict) else 0


def odd_key(key: Any, more: random.Random) -> str:
    return more.choice([f"{key} ", f"{key}x", "", "__class__", str(key).upper(), "\x1b[2J", "a\nb"])


def text(value: Any, more: random.Random | None = None) -> bytes:
    """JSON, with the literals in their places; now and then a key twice, or a byte that is no UTF-8."""
    found = json.dumps(value, ensure_ascii=False)
    found = re.sub(r'"@@(.*?)@@"', lambda match: json.loads(f'"{match[1]}"'), found)
    if more is not None and more.random() < 0.03:
        found = re.sub(r"^\{(\"[^\"]*\": *[^,{}\[\]]+)", r"{\1, \1", found)
    data = found.encode("utf-8", "surrogatepass")
    if more is not None and more.random() < 0.02:
        at = more.randrange(len(data) + 1)
        data = (
            data[:at]
            + more.choice([b"\xff", b"\x00", b"\xc0\x80", b"\xed\xa0\x80", b"\n", b"\xef\xbb\xbf"])
            + data[at:]
        )
    return data
