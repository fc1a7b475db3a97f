"""Products of factors in a .szd file, written from docs/format.md."""

from __future__ import annotations

from szd_streams import LIMIT, need


def multiplied(
    codes: list[int], basis: list[int], shapes: tuple[tuple[int, ...], tuple[int, ...]]
) -> list[int]:
    """The levels of a product, from the levels and shapes of its factors."""
    (n, size), (groups, _, _) = shapes
    need(all(abs(k) <= 8 for k in codes), "a coefficient is none")
    levels: list[int] = []
    for i in range(n):
        first = i // (n // groups) * size * size
        row = [(k > 0) * 2 ** (8 - abs(k)) - (k < 0) * 2 ** (8 - abs(k)) for k in codes[i * size :][:size]]
        levels += [sum(c * basis[first + s * size + j] for s, c in enumerate(row)) for j in range(size)]
    need(all(abs(k) < LIMIT for k in levels), "a product is too large")
    return levels
