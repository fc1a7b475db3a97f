"""What ``result.json`` may say: one schema, for the page, the table and whoever else reads it."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from szilard.errors import printable

_LETTERS = 300  # of a name, or a sentence, on a page or in a table
_MOST_CLASSES = 100_000
_TEXTS = ("method", "name", "network", "data", "ood", "task", "diverged")
_COUNTS = ("samples", "epochs", "steps", "n_train")
_TABLES = ("test", "valid", "density")


def check(content: Any) -> tuple[dict[str, Any], list[str]]:
    """A result with every field of its type, and what was left out because it was not.

    * ``method``, ``name``, ``network``, ``data``, ``ood``, ``task``, ``diverged``: printable text, or absent;
    * ``seed``, ``samples``, ``epochs``, ``steps``, ``n_train``: whole numbers; all but the seed not negative;
    * ``classes``: printable texts;
    * ``test``, ``valid``, ``density``: finite numbers by name, at most 1 in ``density``;
    * ``cost``: by name, ``{"value": a number or None, "source": text}``.

    Returns:
        the fields that are known and right, and the names of those that are wrong.

    Raises:
        ValueError: it is no result at all.
    """
    if not isinstance(content, dict) or not isinstance(content.get("test"), dict):
        raise ValueError("holds no result")
    found: dict[str, Any] = {}
    wrong: list[str] = []

    def take(
        key: str, right: Callable[[Any], bool], convert: Callable[[Any], Any] = lambda value: value
    ) -> None:
        value = content.get(key)
        if value is None:
            return
        if right(value):
            found[key] = convert(value)
        else:
            wrong.append(key)

    for key in _TEXTS:
        take(key, lambda value: isinstance(value, str), text)
    take("seed", lambda value: is_number(value) and value == int(value), int)
    for key in _COUNTS:
        take(key, lambda value: is_number(value) and value >= 0 and value == int(value), int)
    take("classes", _are_texts, lambda value: [text(label) for label in value])
    for key in _TABLES:
        take(key, lambda value: isinstance(value, dict), functools.partial(_numbers, key, wrong))
    take("cost", lambda value: isinstance(value, dict), lambda value: _costs(value, wrong))
    return found, wrong


def is_number(value: Any) -> bool:
    """Whether a value of a JSON or TOML file is a number that is finite as a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False


def text(value: Any) -> str:
    """Anything as text for a page or a table: on one line, without control characters, not too long."""
    return printable(value if isinstance(value, str) else str(value)[: 4 * _LETTERS], _LETTERS)


def _are_texts(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= _MOST_CLASSES
        and all(isinstance(item, str) for item in value)
    )


def _numbers(key: str, wrong: list[str], table: dict[str, Any]) -> dict[str, float]:
    right = {name: value for name, value in table.items() if is_number(value) and _in_range(key, value)}
    wrong += [
        f"{key}.{text(name)}" for name, value in table.items() if value is not None and name not in right
    ]
    return {text(name): float(value) for name, value in right.items()}


def _in_range(key: str, value: float) -> bool:
    return key != "density" or 0 <= value <= 1


def _costs(table: dict[str, Any], wrong: list[str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name, figure in table.items():
        value = figure.get("value") if isinstance(figure, dict) else None
        source = figure.get("source", "unknown") if isinstance(figure, dict) else None
        if not isinstance(source, str) or not (value is None or (is_number(value) and value >= 0)):
            wrong.append(f"cost.{text(name)}")
        else:
            found[text(name)] = {"value": None if value is None else float(value), "source": text(source)}
    return found
