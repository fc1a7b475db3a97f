"""Count values beyond a bound, in exact arithmetic and without the codec's own check."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

#: Errors this near to the bound, relative, are compared as fractions; a long double has 64 bits, or 53.
_NEAR = 1e-12


def violations(
    original: np.ndarray, decoded: np.ndarray, bound: float | np.ndarray, relative: bool = False
) -> int:
    """How many values break the promise.

    A finite value must be within the bound: ``|original - decoded| <= bound``, times ``|original|`` if it is relative,
    of the real numbers that the floating-point numbers are. NaN must be NaN, and an infinity the same one. If shape or
    type differ, every value breaks it.

    Args:
        original: the array.
        decoded: what became of it.
        bound: of all values, or of each, of the array's shape.
        relative: whether it is a share of each magnitude.
    """
    if original.shape != decoded.shape or original.dtype != decoded.dtype:
        return max(1, original.size)
    first, second = original.reshape(-1), decoded.reshape(-1)
    finite = np.isfinite(first)
    special = ~finite
    same = (np.isnan(first) & np.isnan(second)) | (first == second)
    count = int((special & ~same).sum())
    count += int((finite & ~np.isfinite(second)).sum())
    both = finite & np.isfinite(second)
    x, y = first[both].astype(np.longdouble), second[both].astype(np.longdouble)
    size = (
        np.broadcast_to(np.asarray(bound, np.float64), original.shape).reshape(-1)[both].astype(np.longdouble)
    )
    limit = size * np.abs(x) if relative else size
    error = np.abs(x - y)
    smallest = np.finfo(np.float64).tiny  # below it products may lose bits if a long double is a double
    near = (np.abs(error - limit) <= _NEAR * np.maximum(error, limit)) | (limit < smallest)
    near &= error > 0
    count += int((error > limit)[~near].sum())
    return count + sum(
        _beyond(float(a), float(b), float(c), relative)
        for a, b, c in zip(x[near], y[near], size[near], strict=True)
    )


def _beyond(original: float, decoded: float, bound: float, relative: bool) -> bool:
    exact = Fraction(original)
    limit = Fraction(bound) * abs(exact) if relative else Fraction(bound)
    return abs(exact - Fraction(decoded)) > limit


def largest_error(original: np.ndarray, decoded: np.ndarray) -> float:
    """The largest absolute error of finite arrays."""
    return float(np.abs(original.astype(np.float64) - decoded.astype(np.float64)).max(initial=0))
