"""The exception and the warning that users read, and safe printing of untrusted text."""

from __future__ import annotations

import re
import unicodedata

_MOST = 2000  # characters of a message
#: Control, format (bidirectional overrides, zero width), lone surrogates, separators of lines and paragraphs.
_ESCAPED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # and other styles of a terminal
#: Letters and marks that are invisible.
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")


class SzilardError(Exception):
    """An error that the user can fix; the message is one sentence: what is wrong, where, what to do.

    Names from files and data are shown as by :func:`printable`. The message is one line of at most 2000 characters.
    The command line prints it after ``error:`` and exits with code 2.
    """

    def __str__(self) -> str:
        return printable(super().__str__(), _MOST)


class OwnCodeError(SzilardError):
    """The user's own code failed; the message quotes the exception, and argument names are those of Python."""


class SzilardWarning(UserWarning):
    """Something works, but worse than expected; the message is one sentence that says what to do.

    The command line prints it after ``warning:``.
    """

    def __str__(self) -> str:
        return printable(super().__str__(), _MOST)


def printable(text: str, most: int | None = None) -> str:
    r"""Untrusted text on one line, with characters escaped that could control a terminal or mislead a reader.

    Control characters, line ends, bidirectional overrides, zero-width characters and lone surrogates appear as
    ``\x1b``, ``\n``, ``\u202e``. All other text is unchanged, backslashes too: a second call changes nothing.

    Args:
        text: a name, a label, a path, a sentence that quotes one.
        most: longer text is cut to this many characters: its beginning, "…" and its end.
    """
    if most is not None:
        text = shortened(text, most)  # first, so that huge text costs nothing
    if not (text.isascii() and text.isprintable()):
        text = "".join(map(_escaped, text))
    return text if most is None else shortened(text, most)


def shortened(text: str, most: int) -> str:
    """A text cut to at most ``most`` characters: its beginning, "…" and its end."""
    if len(text) <= most:
        return text
    head = most // 2
    return f"{text[:head]}…{text[len(text) - (most - head - 1) :]}"


def _escaped(letter: str) -> str:
    if unicodedata.category(letter) in _ESCAPED or letter in _INVISIBLE:
        return letter.encode("unicode_escape").decode()
    return letter


def first_line(error: BaseException) -> str:
    """First line of an exception's message, for use inside a sentence; its class name if the message is empty.

    Colours of a terminal are left out.
    """
    lines = _COLOUR.sub("", str(error)).strip().splitlines() or [type(error).__name__]
    return printable(lines[0]).rstrip(".")
