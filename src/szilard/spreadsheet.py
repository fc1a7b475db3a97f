"""CSV files that a spreadsheet may open: it shows their text, and takes none of it for a formula."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence

from szilard.errors import printable

_FORMULA = frozenset("=+-@")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_DIGITS = 6
_QUOTED = frozenset(',;|"')


def csv(columns: Mapping[str, Sequence[float | str]], digits: Mapping[str, int] | None = None) -> str:
    """Columns of equal length under their names.

    Args:
        digits: significant digits of a column; 6 where it is not named.
    """
    rows = [",".join(map(cell, columns))]
    counts = [(digits or {}).get(name, _DIGITS) for name in columns]
    for values in zip(*columns.values(), strict=True):
        rows.append(",".join(map(_value, values, counts)))
    return "\n".join(rows) + "\n"


def _value(value: float | str, digits: int) -> str:
    if isinstance(value, str):
        return cell(value)
    return str(value) if isinstance(value, int) else f"{value:.{digits}g}"


def cell(text: str) -> str:
    """A label as a cell of a CSV file.

    A label that a spreadsheet would take for a formula, because its first character other than a space is one of
    ``= + - @`` (in full width too), gets an apostrophe in front. Plain numbers such as ``-1`` stay as they are. Control
    characters are escaped as by :func:`szilard.errors.printable`, and what could be taken for a separator is quoted.
    """
    text = printable(text)
    if unicodedata.normalize("NFKC", text).lstrip()[:1] in _FORMULA and not _NUMBER.fullmatch(text):
        text = f"'{text}"
    quoted = bool(_QUOTED & set(text)) or text != text.strip()
    return '"' + text.replace('"', '""') + '"' if quoted else text
