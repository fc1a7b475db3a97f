"""The placeholder for an object whose class is not read."""

from __future__ import annotations

from typing import Any


class Unread:
    """Placeholder for an object of another class: its name, and its attributes in the file. No code was run.

    Attributes:
        name: of the class or function.
        attributes: from the file.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.attributes: dict[Any, Any] = {}

    def __call__(self, *_: Any) -> Unread:
        return Unread(self.name)

    def __setitem__(self, key: Any, value: Any) -> None:
        """Ignore an entry of a subclass of dict."""

    def extend(self, items: Any) -> None:
        """Ignore entries of a subclass of list."""
