"""The result of one compression attempt, and the goal of the search."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from szilard import file
from szilard.compression.judge import Scores
from szilard.compression.shelf import Shelf


@dataclass(eq=False)
class Attempt:
    """The result for one λ: the bytes of the file, its scores and notes. The network is decoded from the bytes.

    Attributes:
        size: bytes of the file.
        network: only if a pass changed more than tensors; otherwise :meth:`Job.network` opens the file.
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
    """The goal: exactly one of the first three is set.

    Attributes:
        confidence: of the bound on the drop (:class:`~szilard.compression.promise.Promise`).
        cap: with ``max_drop``: the largest λ allowed; it is taken if it keeps the drop.
    """

    max_drop: float | None
    max_bytes: int | None
    lam: float | None
    confidence: float
    cap: float | None = None


def worth_of(made: Attempt, before: Scores | None) -> tuple[float, int]:
    """Sort key of attempts that are small enough: closeness to the original, then the size.

    Closeness is the mean over examples of the change in the probability of the label, if that is known, else in the
    score of the example. The mean score is not used: a few outputs that are right by chance change it more than a finer
    rounding does.
    """
    after = made.scores
    if before is None or after is None:
        return (0.0 if made.score is None else made.score, made.size)
    for old, new in ((before.label_probability, after.label_probability), (before.values, after.values)):
        if old is not None and new is not None and len(old) == len(new):
            return (-float((new - old).abs().mean()), made.size)
    return (after.score, made.size)
