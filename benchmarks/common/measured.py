"""Results stored on disk, so that a second run of a benchmark does not compute them again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from szilard import atomic


class Measured:
    """A table from JSON keys to JSON values; with a path, it is stored as lines ``{"key": ..., "value": ...}``.

    If the process is killed during a write, only the last line is lost.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._table: dict[str, Any] = {}
        if path is not None and path.exists():
            for line in path.read_text().splitlines():
                try:
                    row = json.loads(line)
                except json.JSONDecodeError:
                    continue
                self._table[_text(row["key"])] = row["value"]

    def get(self, key: dict[str, Any], compute: Callable[[], Any]) -> Any:
        """The value of ``key``; it is computed and stored if it is missing."""
        text = _text(key)
        if text not in self._table:
            value = self._table[text] = compute()
            if self.path is not None:
                atomic.append(self.path, json.dumps({"key": key, "value": value}))
        return self._table[text]


def _text(key: dict[str, Any]) -> str:
    return json.dumps(key, sort_keys=True)
