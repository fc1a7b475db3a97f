"""What a compression gives: the file, the network in it, and how good it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from szilard import atomic, file
from szilard.compression.generalization_bound import Certificate, certificate
from szilard.compression.judge import Scores
from szilard.compression.promise import Drop, Promise


@dataclass(frozen=True, eq=False)
class Compressed:
    """What came out.

    Attributes:
        data: the bytes of the file.
        ledger: where each of them goes.
        network: a copy of the original with the weights that the file holds, in eval mode.
        lam: λ, nats per bit.
        score, original_score: of the compressed and the original network where they were judged, else None.
        task: what the outputs were taken for, and by what they were judged, in words.
        promise: what the drop was compared with, or None where nobody judged.
        scores: of the compressed network, with those of single examples where they are known.
        original_bytes: of the original's tensors in their own types, tied ones once.
        trials: λ, bytes and score of each attempt.
        notes: what a person should know, one sentence each.
        seconds: that it took.
    """

    data: bytes
    ledger: file.Ledger
    network: nn.Module
    lam: float
    score: float | None
    original_score: float | None
    original_bytes: int
    trials: list[tuple[float, int, float | None]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    task: str = ""
    promise: Promise | None = None
    scores: Scores | None = None

    @property
    def drop(self) -> float | None:
        """By how much the score fell, or None if nobody judged; a share of the original's if it is no accuracy."""
        fell = self._fell
        return None if fell is None else fell.mean

    @property
    def drop_se(self) -> float | None:
        """Standard error of :attr:`drop`, from paired differences; None where single examples are not known."""
        fell = self._fell
        return None if fell is None else fell.se

    @property
    def judged_on(self) -> int | None:
        """How many examples judged, where that is known."""
        return None if self.promise is None else self.promise.examples

    @property
    def _fell(self) -> Drop | None:
        if self.promise is None or self.scores is None:
            return None
        return self.promise.drop(self.scores)

    def __repr__(self) -> str:
        judged = "" if self.score is None else f", score {self.score:.4g} of {self.original_score or 0:.4g}"
        return f"Compressed({len(self.data):,} bytes, {self.ratio:.1f} times smaller{judged})"

    @property
    def ratio(self) -> float:
        """Bytes of the original's tensors over bytes of the file."""
        return self.original_bytes / len(self.data)

    def certificate(self, errors: int, n: int, delta: float = 0.05) -> Certificate:
        """What the length of the file promises about unseen examples, with its assumptions.

        Args:
            errors: wrong answers of :attr:`network` over the training examples.
            n: how many training examples there are.
            delta: probability that a bound is wrong.

        Raises:
            SzilardError: numbers that cannot be.
        """
        return certificate(8 * len(self.data), errors, n, delta)

    def save(self, path: str | Path) -> None:
        """Write the file in one step; one that was there stays whole if this is interrupted."""
        atomic.write(Path(path), self.data, follow=True)
