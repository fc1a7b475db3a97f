"""What one λ gave, and what was asked for."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from szilard import file
from szilard.compression.judge import Scores
from szilard.compression.shelf import Shelf


@dataclass(eq=False)
class Attempt:
    """What one λ gave: the bytes of the file, and what was seen on the way; not the network, which they hold.

    Attributes:
        size: of the file, bytes.
        network: only of a pass that changed more than tensors; else :meth:`Job.network` opens the file.
    """

    lam: float
    size: int
    ledger: file.Ledger
    scores: Scores | None
    notes: list[str]
    shelf: Shelf
    network: nn.Module | None = None

    @property
    def data(self) -> bytes:
        return bytes(self.shelf[self].numpy())

    @property
    def score(self) -> float | None:
        return None if self.scores is None else self.scores.score


@dataclass(frozen=True)
class Goal:
    """What was asked for: exactly one of the first three.

    Attributes:
        confidence: of a promise (:class:`~szilard.compression.promise.Promise`).
        cap: with ``max_drop``: λ that is not exceeded, and taken if it keeps the drop.
    """

    max_drop: float | None
    max_bytes: int | None
    lam: float | None
    confidence: float
    cap: float | None = None


def worth_of(made: Attempt, before: Scores | None) -> tuple[float, int]:
    """What is better of two that are small enough: how near it is to the original, or else the size.

    Nearness is that of each example, of the probability given to its label if that is known: a few answers that are
    right by chance would count for more in the score than a finer rounding does.
    """
    after = made.scores
    if before is None or after is None:
        return (0.0 if made.score is None else made.score, made.size)
    for old, new in ((before.sureness, after.sureness), (before.values, after.values)):
        if old is not None and new is not None and len(old) == len(new):
            return (-float((new - old).abs().mean()), made.size)
    return (after.score, made.size)
