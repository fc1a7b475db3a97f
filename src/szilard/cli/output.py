"""What a command prints, and the file that it writes."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, TextIO

from szilard.errors import SzilardError

_DEFAULT, _LEAST = 80, 20  # columns of a terminal whose width is unknown, and the least that is taken
_PLAIN = str.maketrans(
    {
        "↑": "^",
        "↓": "v",
        "─": "-",
        "–": "-",
        "−": "-",
        "→": ">",
        "…": "~",
        "×": "x",
        "µ": "u",
        "λ": "l",
        "‖": "|",
        "█": "#",
    }
)
_reserved: list[TextIO] = []  # standard output, while a command runs


@contextmanager
def reserved_stdout() -> Iterator[None]:
    """While a command runs, standard output is for :func:`say`; whatever else prints goes to standard error."""
    _reserved.append(sys.stdout)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _reserved.pop()


def stream() -> TextIO:
    """Standard output as the command found it."""
    return _reserved[-1] if _reserved else sys.stdout


def columns(stream: TextIO) -> int | None:
    """Width of the terminal that a stream writes to; None where it is no terminal, and lines may be of any length."""
    try:
        if not stream.isatty():
            return None
        said = os.environ.get("COLUMNS", "")
        found = int(said) if said.isdigit() else os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError, AttributeError):
        return _DEFAULT
    return max(_LEAST, found or _DEFAULT)


def tell(text: str) -> None:
    """Print a sentence on standard error, broken between words where that is a terminal."""
    print(encodable("\n".join(wrapped(text, columns(sys.stderr))), sys.stderr), file=sys.stderr, flush=True)


def wrapped(text: str, width: int | None) -> list[str]:
    """Lines of at most ``width`` columns, broken between words; a word that is longer than a line stays whole."""
    if width is None:
        return [text]
    found = []
    for part in text.split("\n"):
        found += textwrap.wrap(part, width, break_on_hyphens=False, break_long_words=False) or [""]
    return found


def say(text: str, end: str = "\n") -> None:
    """Print on standard output. The caller makes names and data in the text fit to print."""
    print(encodable(text, stream()), end=end, file=stream(), flush=True)


def say_data(text: str) -> None:
    """Print data on standard output, without changing any character.

    Raises:
        SzilardError: the encoding of standard output lacks a character.
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
    """Text that the encoding of a stream can hold: arrows and dashes become ASCII, other missing characters ``?``.

    Characters are replaced one by one, so that the columns of a table keep their places.
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


def check_writable(out: Path) -> None:
    """Raise where no file can be written.

    Raises:
        SzilardError: the path is a folder, or its folder does not exist.
    """
    if out.is_dir() or not out.absolute().parent.is_dir():
        what = "is a folder" if out.is_dir() else "is in a folder that does not exist"
        raise SzilardError(f"{out} {what}; name a file to write")


def refuse_inputs(out: Path | None, *inputs: object) -> None:
    """Raise where the file to write is one that the command reads.

    Args:
        inputs: paths, names of data sets, ``file.py:function``, or None.

    Raises:
        SzilardError: it is.
    """
    if out is None or not out.is_file():
        return
    for given in filter(None, inputs):
        for path in {Path(str(given)), Path(str(given).rpartition(":")[0] or str(given))}:
            if path.is_file() and path.samefile(out):
                raise SzilardError(f"{out} is a file that this command reads; name another file with --out")


def as_json(value: Any) -> None:
    """Print one JSON value, with null for NaN and infinite numbers, which JSON lacks."""
    say(json.dumps(finite(value), indent=2, allow_nan=False))


def finite(value: Any) -> Any:
    """A JSON value with None for NaN and infinite numbers."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return value


@contextmanager
def writing(path: Path | None) -> Iterator[None]:
    """While a command writes ``path``, an interruption says whether the file has been written.

    Args:
        path: None for standard output.
    """
    before = _stamp(path)
    try:
        yield
    except KeyboardInterrupt as stop:
        if path is None:
            stop.args = ("no file was written, and the printed output may be incomplete",)
        elif _stamp(path) == before:
            stop.args = (f"{path} is as it was before" if before else f"{path} was not written",)
        else:
            stop.args = (f"{path} has been written and is complete",)
        raise


def _stamp(path: Path | None) -> tuple[int, int, int] | None:
    """What changes when a file is replaced."""
    try:
        found = None if path is None else path.stat()
    except OSError:
        return None
    return None if found is None else (found.st_ino, found.st_mtime_ns, found.st_size)
