"""Text in a CSV file that a spreadsheet may open: shown, never calculated."""

from __future__ import annotations

import re
import unicodedata

from szilard.errors import printable

_FORMULA = frozenset("=+-@")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_QUOTED = frozenset(',;|"')


def cell(text: str) -> str:
    """A label as a cell of a CSV file.

    A label that a spreadsheet would take for a formula, because its first letter that is no space is one of ``= + - @``
    (in full width too), gets an apostrophe in front. Plain numbers such as ``-1`` stay as they are. Control characters
    are escaped as :func:`szilard.errors.printable` does, and whatever could be taken for a separator is quoted.
    """
    text = printable(text)
    if unicodedata.normalize("NFKC", text).lstrip()[:1] in _FORMULA and not _NUMBER.fullmatch(text):
        text = f"'{text}"
    quoted = bool(_QUOTED & set(text)) or text != text.strip()
    return '"' + text.replace('"', '""') + '"' if quoted else text
