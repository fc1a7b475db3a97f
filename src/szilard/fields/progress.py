"""What a writer tells while it works."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """An object that is told how far a write is; calls come from one thread at a time."""

    def status(self, text: str) -> None:
        """What happens now, in a few words: ``fitting t2m``, ``writing t2m``."""

    def start(self, total_chunks: int, raw_bytes: int) -> None:
        """All chunks of variables with a bound, and their bytes before coding; called once, before the first chunk."""

    def advance(self, variable: str, raw_bytes: int, written_bytes: int) -> None:
        """A chunk of a variable is on disk: its bytes before and after coding. Chunks of an earlier session count."""


class Silent:
    """Progress that nobody wants to see."""

    def status(self, text: str) -> None:
        """Nothing."""

    def start(self, total_chunks: int, raw_bytes: int) -> None:
        """Nothing."""

    def advance(self, variable: str, raw_bytes: int, written_bytes: int) -> None:
        """Nothing."""
