"""Unsigned integers as bytes of seven bits (LEB128)."""

from __future__ import annotations


def encoded(value: int) -> bytes:
    """Seven bits in each byte, low bits first; the eighth bit marks that more follow. The value is not negative."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def zigzag(value: int) -> bytes:
    """A signed integer as its position in 0, -1, 1, -2, ..."""
    return encoded(2 * value if value >= 0 else -2 * value - 1)
