"""Run passes, and take back those that were meant to help and did harm."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from szilard.compression.draft import Draft, Pass, Setting
from szilard.compression.judge import Scores
from szilard.compression.room import give_back

SURE = 2.0  # standard errors of the paired differences, beyond which a score has fallen


def run(
    passes: Sequence[Pass], draft: Draft, setting: Setting, score: Callable[[nn.Module], Scores] | None
) -> None:
    """Let passes change a draft. What one with a true attribute ``mends`` did is discarded if the score falls by more
    than chance.

    Args:
        score: of a network, or None where nobody judges; then all stays.
    """
    for one in passes:
        give_back(setting.original)
        if score is None or not getattr(one, "mends", False):
            one(draft, setting)
            continue
        saved, before = draft.saved(), score(draft.network)
        one(draft, setting)
        if fell(before, score(draft.network)):
            draft.restore(saved)


def fell(before: Scores, after: Scores) -> bool:
    """Whether a score is lower, by more than chance where those of single examples are known."""
    lost = before.score - after.score
    if before.values is None or after.values is None or len(before.values) < 2:
        return not lost <= 0  # NaN is lower, too
    differences = before.values - after.values
    return not lost <= SURE * float(differences.std()) / len(differences) ** 0.5
