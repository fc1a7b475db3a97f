"""Checks of the fields of an untrusted description, one by one."""

from __future__ import annotations

import reprlib
from pathlib import Path
from typing import Any, NoReturn

from szilard.file.error import SzilardFileError, printable

_MOST_ENTRIES = 1 << 24  # of a list of texts
_MOST_TEXT = 4096  # characters of a spec, a path or a name


class Fields:
    """The fields of a file. Each method returns a value of the required type or raises.

    Args:
        path: the file, for messages.
        content: the dict of fields, from JSON or from a pickle.

    Raises:
        SzilardFileError: ``content`` is not a dict; the methods raise it for an invalid value.
    """

    def __init__(self, path: Path, content: Any) -> None:
        self.path = path
        if not isinstance(content, dict):
            self.refuse("network", "must be a table of fields")
        self.content = content

    def field(self, name: str) -> Any:
        """A field, which must be there."""
        if name not in self.content:
            self.refuse(name, "is missing")
        return self.content[name]

    def table(self, name: str, value: Any) -> dict[str, Any]:
        """A dict with strings as keys."""
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            self.refuse(name, f"must be a table, and is {reprlib.repr(value)}")
        return dict(value)

    def items(self, name: str, value: Any) -> list[Any]:
        """A list, also from a tuple."""
        if not isinstance(value, list | tuple):
            self.refuse(name, f"must be a list, and is {reprlib.repr(value)}")
        return list(value)

    def texts(self, name: str, value: Any) -> tuple[str, ...]:
        """A tuple of strings."""
        found = self.items(name, value)
        if len(found) > _MOST_ENTRIES:
            self.refuse(name, "has too many entries")
        return tuple(self.text(name, value) for value in found)

    def optional_text(self, name: str, value: Any) -> str | None:
        """A string, or None."""
        return None if value is None else self.text(name, value)

    def text(self, name: str, value: Any) -> str:
        """A string that is not too long and can be printed and used in a path."""
        if not isinstance(value, str) or len(value) > _MOST_TEXT:
            self.refuse(
                name, f"must be a string of at most {_MOST_TEXT} characters, and is {reprlib.repr(value)}"
            )
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            self.refuse(name, "has characters that are not valid in text and paths")
        return value

    def choice(self, name: str, value: Any, choices: tuple[str, ...]) -> Any:
        """One of a few strings."""
        if not isinstance(value, str) or value not in choices:
            self.refuse(name, f"must be one of {', '.join(choices)}, and is {reprlib.repr(value)}")
        return value

    def whole(self, name: str, value: Any, least: int, most: int) -> int:
        """A whole number from ``least`` to ``most``."""
        if type(value) is not int or not least <= value <= most:
            self.refuse(name, f"must be a whole number from {least} to {most}, and is {reprlib.repr(value)}")
        return value

    def number(self, name: str, value: Any, *, positive: bool = False) -> float:
        """A finite number."""
        if type(value) not in (int, float) or not abs(value) <= 1e300 or (positive and not value > 0):
            what = "a finite number above zero" if positive else "a finite number"
            self.refuse(name, f"must be {what}, and is {reprlib.repr(value)}")
        return float(value)

    def optional_number(self, name: str, value: Any) -> float | None:
        """A positive number, or None."""
        return None if value is None else self.number(name, value, positive=True)

    def refuse(self, name: str, what: str) -> NoReturn:
        """Raise the error for a field, in one sentence."""
        raise SzilardFileError(
            f"{self.path} has an invalid description of its network: {name} {printable(what)}; "
            "download or make the file again"
        )
