"""Standard output belongs to the command; and the file that it writes, for whom it is interrupted."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, TextIO

from typer.core import TyperCommand

_USUAL, _LEAST = 80, 20  # columns of a terminal that does not say, and of the narrowest that is believed
_held: list[TextIO] = []  # standard output, while a command runs


class Command(TyperCommand):
    """A command whose standard output holds what it prints itself.

    What the user's own network, or a library, prints goes to standard error, so that ``--json`` and CSV stay whole.
    """

    def invoke(self, ctx: Any) -> Any:
        _held.append(sys.stdout)
        try:
            with redirect_stdout(sys.stderr):
                return super().invoke(ctx)
        finally:
            _held.pop()


def stream() -> TextIO:
    """Standard output as the command found it."""
    return _held[-1] if _held else sys.stdout


def columns(stream: TextIO) -> int | None:
    """Columns of the terminal that a stream is; None where it is none, so that lines may be as long as need be."""
    try:
        if not stream.isatty():
            return None
        said = os.environ.get("COLUMNS", "")
        found = int(said) if said.isdigit() else os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError, AttributeError):
        return _USUAL
    return max(_LEAST, found or _USUAL)


def tell(text: str) -> None:
    """Print a sentence on standard error, broken between words where that is a terminal."""
    print("\n".join(wrapped(text, columns(sys.stderr))), file=sys.stderr, flush=True)


def wrapped(text: str, room: int | None) -> list[str]:
    """Lines of at most ``room`` columns, broken between words; a word that is longer than a line stays whole."""
    if room is None:
        return [text]
    found = []
    for part in text.split("\n"):
        found += textwrap.wrap(part, room, break_on_hyphens=False, break_long_words=False) or [""]
    return found


def say(text: str, end: str = "\n") -> None:
    """Print for the user; names and data in the text are made fit to print by whoever puts them there."""
    print(text, end=end, file=stream(), flush=True)


def as_json(value: Any) -> None:
    """Print one JSON value; NaN and infinite numbers, which JSON has not, as null."""
    say(json.dumps(_finite(value), indent=2, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return value


@contextmanager
def told(path: Path | None) -> Iterator[None]:
    """While a command makes ``path``: an interruption says whether the file has been written.

    Args:
        path: None for standard output.
    """
    before = _stamp(path)
    try:
        yield
    except KeyboardInterrupt as stop:
        if path is None:
            stop.args = ("no file was written, and what was printed may not be all",)
        elif _stamp(path) == before:
            stop.args = (f"{path} is as it was before" if before else f"{path} was not written",)
        else:
            stop.args = (f"{path} has been written and is whole",)
        raise


def _stamp(path: Path | None) -> tuple[int, int, int] | None:
    """What changes when a file is replaced."""
    try:
        found = None if path is None else path.stat()
    except OSError:
        return None
    return None if found is None else (found.st_ino, found.st_mtime_ns, found.st_size)
