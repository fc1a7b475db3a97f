"""Bytes, seconds and shapes as tables of fields show them."""

from __future__ import annotations

from collections.abc import Sequence

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def size(count: float) -> str:
    """Bytes with three digits: ``812 B``, ``4.57 MB``, ``12.3 GB``."""
    number = 0
    while count >= 999.5 and number < len(_UNITS) - 1:
        count, number = count / 1000, number + 1
    return (
        f"{count:.0f} {_UNITS[number]}" if not number or count >= 99.95 else f"{count:.3g} {_UNITS[number]}"
    )


def ratio(raw: float, stored: float) -> str:
    """How many times smaller: ``27.3``."""
    found = raw / stored if stored else 0.0
    return f"{found:,.0f}" if found >= 1000 else f"{found:.2f}" if found < 9.995 else f"{found:.1f}"


def shape(lengths: Sequence[int]) -> str:
    """A shape: ``24x721x1440``."""
    return "x".join(map(str, lengths))
