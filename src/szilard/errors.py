"""The one exception, and the one warning, that a user is meant to read; and text made fit to be printed."""

from __future__ import annotations

import unicodedata

_MOST = 2000  # letters of a message
#: Control, format (bidirectional overrides, zero width), half a surrogate pair, separators of lines and paragraphs.
_ESCAPED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
#: Letters and marks that show nothing.
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")


class SzilardError(Exception):
    """Something the user can mend; the message is one sentence: what is wrong, where, what to do.

    Names from files and data stand in it as :func:`printable` shows them, on one line and at most 2000 letters in all.
    The command line prints it after ``error:`` and exits with code 2.
    """

    def __str__(self) -> str:
        return printable(super().__str__(), _MOST)


class OwnCodeError(SzilardError):
    """The user's own code failed; the message quotes it, and names are those of Python."""


class SzilardWarning(UserWarning):
    """Something works, but worse than the user would have it; the message is one sentence that says what to do.

    The command line prints it after ``warning:``.
    """

    def __str__(self) -> str:
        return printable(super().__str__(), _MOST)


def printable(text: str, most: int | None = None) -> str:
    r"""Text of a stranger on one line, without what a terminal or a reader's eye might obey.

    Control characters, line ends, bidirectional overrides, zero-width characters and lone surrogates appear as
    ``\x1b``, ``\n``, ``\u202e``. All other text stays as it is, backslashes too, so that a second call changes nothing.

    Args:
        text: a name, a label, a path, a sentence that quotes one.
        most: longer text keeps its two ends, with "…" between them.
    """
    if most is not None:
        text = shortened(text, most)  # first, so that huge text costs nothing
    if not (text.isascii() and text.isprintable()):
        text = "".join(map(_escaped, text))
    return text if most is None else shortened(text, most)


def shortened(text: str, most: int) -> str:
    """At most ``most`` letters of a text: its beginning, "…" and its end."""
    if len(text) <= most:
        return text
    head = most // 2
    return f"{text[:head]}…{text[len(text) - (most - head - 1) :]}"


def _escaped(letter: str) -> str:
    if unicodedata.category(letter) in _ESCAPED or letter in _INVISIBLE:
        return letter.encode("unicode_escape").decode()
    return letter


def first_line(error: BaseException) -> str:
    """What an exception of somebody else's code says, fit to stand inside a sentence; its class if it says nothing."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return printable(lines[0]).rstrip(".")
