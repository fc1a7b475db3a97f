"""Choice of the smallest file within a limit of the drop."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from sklearn.isotonic import IsotonicRegression


def smallest_good(
    n_bytes: Sequence[int],
    drop: Callable[[int, int | None], float],
    max_drop: float,
    *,
    screen: int = 1000,
    margin: float = 3.0,
) -> int | None:
    """Index of the smallest file whose drop is at most ``max_drop``, or None.

    Files that are much too small are not measured on all images. A bisection over sizes, on a few images, finds the
    largest file whose drop exceeds the limit by ``margin`` points; it assumes that between files with such a
    difference the larger one is better. All larger files are measured on all images, because near the limit a larger
    file can be worse.

    Args:
        n_bytes: sizes, in any order.
        drop: function of ``(index, number of images or None for all)``; percentage points.
        max_drop: percentage points.
        screen: number of images for the bisection.
        margin: percentage points above ``max_drop``.
    """
    order = sorted(range(len(n_bytes)), key=lambda i: n_bytes[i])
    low, high = 0, len(order)
    while low < high:
        middle = (low + high) // 2
        if drop(order[middle], screen) > max_drop + margin:
            low = middle + 1
        else:
            high = middle
    return next((i for i in order[low:] if drop(i, None) <= max_drop), None)


def bytes_at(drops: Sequence[float], n_bytes: Sequence[int], max_drop: float) -> float | None:
    """Bytes at which a curve through noisy (drop, bytes) points crosses ``max_drop``; None outside the points.

    Isotonic regression makes drops non-increasing in bytes, and log bytes are interpolated. The result depends on all
    points near the limit, so it has less variance than the size of the smallest good file.
    """
    order = np.argsort(n_bytes)
    sizes = np.log(np.asarray(n_bytes, float)[order])
    fitted = IsotonicRegression(increasing=False).fit_transform(sizes, np.asarray(drops, float)[order])
    if not fitted.min() <= max_drop <= fitted.max():
        return None
    # np.interp needs increasing abscissae; a flat part is represented by its middle.
    levels = np.unique(fitted)
    middles = [sizes[fitted == level].mean() for level in levels]
    return float(np.exp(np.interp(max_drop, levels, middles)))
