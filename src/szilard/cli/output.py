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

from szilard.cli import usage
from szilard.errors import SzilardError

_USUAL, _LEAST = 80, 20  # columns of a terminal that does not say, and of the narrowest that is believed
_PLAIN = str.maketrans(
    {"↑": "^", "↓": "v", "─": "-", "–": "-", "−": "-", "→": ">", "…": "~", "×": "x", "µ": "u", "λ": "l"}
)
_held: list[TextIO] = []  # standard output, while a command runs


class Command(TyperCommand):
    """A command whose standard output holds what it prints itself.

    What the user's own network, or a library, prints goes to standard error, so that ``--json`` and CSV stay whole.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        typed = list(args)
        usage.refuse_swallowed(self, typed, ctx)
        usage.refuse_repeated(self, typed, ctx)
        try:
            return super().parse_args(ctx, args)
        except usage.UsageError as error:
            if type(error).__name__ == "NoArgsIsHelpError":
                raise
            raise usage.refusal(error, ctx, typed) from error

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
    print(encodable("\n".join(wrapped(text, columns(sys.stderr))), sys.stderr), file=sys.stderr, flush=True)


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
    print(encodable(text, stream()), end=end, file=stream(), flush=True)


def say_data(text: str) -> None:
    """Print data on standard output, of which no letter may change.

    Raises:
        SzilardError: its encoding has no such letter.
    """
    found = encodable(text, stream())
    if found != text:
        lost = next(letter for letter, shown in zip(text, found, strict=True) if letter != shown)
        raise SzilardError(
            f"standard output is in {stream().encoding}, which has no {lost!r}; write a file with --out, which is "
            "UTF-8, or set PYTHONIOENCODING=utf-8"
        )
    print(text, end="", file=stream(), flush=True)


def encodable(text: str, stream: TextIO) -> str:
    """Text as a stream can hold it: where its encoding is not UTF-8, arrows and dashes become plain, and others ``?``.

    Letters are replaced one by one, so that columns of arrows and numbers stay where they are.
    """
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return "".join(_encodable(letter, encoding) for letter in text)
    return text


def _encodable(letter: str, encoding: str) -> str:
    for shown in (letter, letter.translate(_PLAIN)):
        try:
            shown.encode(encoding)
        except UnicodeEncodeError:
            continue
        return shown
    return "?"


def refuse_inputs(out: Path | None, *inputs: object) -> None:
    """Raise where the file to write is one that the command reads.

    Args:
        inputs: paths, names of data sets, ``file.py:function``, or None.
    """
    if out is None or not out.is_file():
        return
    for given in filter(None, inputs):
        for path in {Path(str(given)), Path(str(given).rpartition(":")[0] or str(given))}:
            if path.is_file() and path.samefile(out):
                raise SzilardError(f"{out} is a file that this command reads; name another file with --out")


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
