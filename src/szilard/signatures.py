"""The options of a class: names and defaults from signatures, meanings from docstrings."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import Any

REQUIRED = inspect.Parameter.empty

_ARGUMENT = re.compile(r"(\*{0,2}\w+(?:, \*{0,2}\w+)*)(?: \([^)]*\))?: ?(.*)")
_ROLE = re.compile(r":[\w:]+:`(?:~[\w.]+\.|~)?([^`]+)`")


@dataclass(frozen=True)
class Option:
    """An option of a class.

    Attributes:
        default: default value; :data:`REQUIRED` if there is none.
        type: its annotation.
        meaning: description in plain text; empty if no docstring has one.
    """

    name: str
    default: Any
    type: str
    meaning: str


def options(kind: type) -> list[Option]:
    """The options of a class, after those of the base classes to which it passes options.

    Args:
        kind: a class; if its ``__init__`` takes ``**options``, the options of the next base class are included.
    """
    meanings: dict[str, str] = {}
    for parent in reversed(kind.__mro__):
        meanings |= arguments(parent.__doc__)
    found: dict[str, Option] = {}
    for parent in reversed(_chain(kind)):
        for one in inspect.signature(parent.__init__).parameters.values():  # type: ignore[misc]
            if one.name != "self" and one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL):
                meaning = plain(meanings.get(one.name, ""))
                found[one.name] = Option(one.name, one.default, _type(one.annotation), meaning)
    return list(found.values())


def _chain(kind: type) -> list[type]:
    """A class and the base classes whose options it takes."""
    found = []
    for parent in kind.__mro__[:-1]:
        if "__init__" in vars(parent):
            found.append(parent)
            parameters = inspect.signature(parent.__init__).parameters.values()  # type: ignore[misc]
            if not any(one.kind is one.VAR_KEYWORD for one in parameters):
                break
    return found


def _type(annotation: Any) -> str:
    if annotation is REQUIRED:
        return ""
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def arguments(docstring: str | None) -> dict[str, str]:
    """Descriptions of arguments, by name, from the ``Args`` section of a docstring. Names can share a line:
    ``x, y: ...``."""
    found: dict[str, str] = {}
    lines = inspect.cleandoc(docstring or "").splitlines()
    if "Args:" not in lines:
        return {}
    names: list[str] = []
    level: int | None = None
    for line in lines[lines.index("Args:") + 1 :]:
        if line and not line.startswith(" "):
            break
        text = line.strip()
        indent = len(line) - len(line.lstrip())
        level = indent if level is None else level
        match = _ARGUMENT.fullmatch(text) if indent == level else None
        if match:
            names = [name.strip().lstrip("*") for name in match[1].split(",")]
            found |= dict.fromkeys(names, match[2])
        elif text:
            found |= {name: f"{found[name]} {text}".strip() for name in names}
    return found


def plain(text: str) -> str:
    """Text of a docstring without its markup, for a terminal."""
    return _ROLE.sub(r"\1", text).replace("``", "")
