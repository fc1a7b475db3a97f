"""If no rounding keeps the drop: store the original weights bit for bit."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

from szilard.compression.attempt import Attempt
from szilard.compression.draft import Pass
from szilard.compression.promise import SLACK, Promise
from szilard.errors import SzilardWarning


def unrounded(
    attempt: Callable[[float, Sequence[Pass]], Attempt], promise: Promise, least: float
) -> Attempt | None:
    """An attempt without passes, at λ = 0, if its score is the original's; its file stores every tensor bit for bit.

    Args:
        attempt: makes an attempt from λ and passes.
        promise: the limit on the drop.
        least: the smallest drop that rounding gave.
    """
    made = attempt(0.0, [])
    # The network is the original, so the mean drop is enough, for any number of examples.
    if made.scores is None or not promise.drop(made.scores).mean <= max(promise.limit, SLACK):
        return None
    text = (
        f"no rounding keeps the drop within {promise.limit:g} (the smallest was {least:.4g}); the weights are stored "
        "bit for bit"
    )
    warnings.warn(text, SzilardWarning, stacklevel=3)
    made.notes.append(text)
    return made
