"""Run passes, and undo corrections that make the network worse."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

from torch import nn

from szilard.compression.draft import Draft, Pass, Setting
from szilard.compression.judge import Scores
from szilard.compression.memory import give_back

SURE = (
    2.0  # a score has fallen if it is lower by more than this many standard errors of the paired differences
)


def run_passes(
    passes: Sequence[Pass], draft: Draft, setting: Setting, score: Callable[[nn.Module], Scores] | None
) -> None:
    """Run passes on a draft.

    A pass with a true attribute ``undo_if_worse`` is undone if the score falls by more than chance.

    Args:
        score: scores a network; None if nothing is judged, and no pass is undone.
    """
    for one in passes:
        give_back(setting.original)
        if score is None or not _undone_if_worse(one):
            one(draft, setting)
            continue
        saved, before = draft.saved(), score(draft.network)
        one(draft, setting)
        if fell(before, score(draft.network)):
            draft.restore(saved)


def _undone_if_worse(one: Pass) -> bool:
    if hasattr(one, "mends"):
        warnings.warn(
            f"the attribute mends of {type(one).__name__} is now undo_if_worse",
            DeprecationWarning,
            stacklevel=2,
        )
        return bool(one.mends)
    return bool(getattr(one, "undo_if_worse", False))


def fell(before: Scores, after: Scores) -> bool:
    """Whether a score is lower; by more than chance if the scores of single examples are known."""
    lost = before.score - after.score
    if before.values is None or after.values is None or len(before.values) < 2:
        return not lost <= 0  # NaN is lower, too
    differences = before.values - after.values
    return not lost <= SURE * float(differences.std()) / len(differences) ** 0.5
