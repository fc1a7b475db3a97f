"""The last resort of a search for a file that keeps a drop: weights as they are."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

from szilard.compression.attempt import Attempt
from szilard.compression.draft import Pass
from szilard.compression.promise import SLACK, Promise
from szilard.errors import SzilardWarning


def as_they_are(
    attempt: Callable[[float, Sequence[Pass]], Attempt], promise: Promise, least: float
) -> Attempt | None:
    """An attempt without any pass, at λ = 0, if its score is the original's; its file holds every tensor bit for bit.

    Args:
        attempt: makes one of λ and passes.
        least: drop that rounding was seen to cost.
    """
    made = attempt(0.0, [])
    # The network is the original, so that nothing falls, however few examples there are to say it.
    if made.scores is None or not promise.drop(made.scores).mean <= max(promise.limit, SLACK):
        return None
    text = (
        f"no rounding keeps the drop within {promise.limit:g} (the least was {least:.4g}); the weights are stored as "
        "they are, bit for bit"
    )
    warnings.warn(text, SzilardWarning, stacklevel=3)
    made.notes.append(text)
    return made
