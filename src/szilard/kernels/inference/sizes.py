"""Sizes of windows, strides and paddings as pairs for height and width."""

from __future__ import annotations

from collections.abc import Sequence

from szilard.errors import SzilardError
from szilard.kernels.inference.steps import Pair

Size = int | Sequence[int] | Sequence[Pair]


def pair(size: Size, axes: int) -> Pair:
    """One positive number for height and width; height is 1 with one axis."""
    numbers: tuple[object, ...] = (size,) * axes if isinstance(size, int) else tuple(size)
    integers = [n for n in numbers if isinstance(n, int) and 1 <= n < 2**31]
    if len(integers) != axes or len(numbers) != axes:
        raise SzilardError(f"the size {size} was given; give a positive integer, or {axes} of them")
    return (1, integers[0]) if axes == 1 else (integers[0], integers[1])


def padded(padding: Size, axes: int) -> tuple[Pair, Pair]:
    """(before, after) for height and width."""
    sides: tuple[int | Pair, ...] = (padding,) * axes if isinstance(padding, int) else tuple(padding)
    pairs = [(side, side) if isinstance(side, int) else tuple(side) for side in sides]
    if len(pairs) != axes or any(
        len(p) != 2 or not all(isinstance(n, int) and 0 <= n < 2**31 for n in p) for p in pairs
    ):
        raise SzilardError(
            f"the padding {padding} was given; give a number, or for each of {axes} axes a number or (before, after)"
        )
    found: list[Pair] = [(p[0], p[1]) for p in pairs]
    return ((0, 0), found[0]) if axes == 1 else (found[0], found[1])


def swept(
    size: Sequence[int], kernel: Pair, stride: Pair, padding: tuple[Pair, Pair], dilation: Pair
) -> Pair:
    """Outputs along height and width."""
    found = [
        (n + before + after - d * (k - 1) - 1) // s + 1
        for n, k, s, (before, after), d in zip(size, kernel, stride, padding, dilation, strict=True)
    ]
    if min(found) < 1:
        raise SzilardError(
            f"an input of {tuple(size)} positions is smaller than a window of {kernel}, padding {padding} and "
            f"dilation {dilation}; give a larger input"
        )
    return found[0], found[1]
