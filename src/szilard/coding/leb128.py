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
