"""The smallest file that is still good enough."""

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

    Files far too small are passed over unmeasured. A bisection over their sizes, on a few pictures, finds the
    largest that has lost ``margin`` points too many there; it supposes that of two files with *such* a
    difference the larger is better. From there up every file is measured on all pictures, because near the
    limit a larger file may well be the worse one.

    Args:
        n_bytes: sizes, in any order.
        drop: of ``(index, number of pictures or None for all)``: percentage points.
        max_drop: percentage points.
        screen: pictures of the bisection.
        margin: percentage points over ``max_drop``.
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

    Drops are made non-increasing in bytes by isotonic regression, and log bytes interpolated between them. It
    depends on all the points around the limit, so it is less a matter of luck than the smallest good file.
    """
    order = np.argsort(n_bytes)
    sizes = np.log(np.asarray(n_bytes, float)[order])
    fitted = IsotonicRegression(increasing=False).fit_transform(sizes, np.asarray(drops, float)[order])
    if not fitted.min() <= max_drop <= fitted.max():
        return None
    # np.interp wants its abscissae to rise; of a flat stretch the middle counts.
    levels = np.unique(fitted)
    middles = [sizes[fitted == level].mean() for level in levels]
    return float(np.exp(np.interp(max_drop, levels, middles)))
