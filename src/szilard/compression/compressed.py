"""The result of a compression: the file, the network in it, and its quality."""

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
    """The compressed network.

    Attributes:
        data: the bytes of the file.
        ledger: what the bytes are used for.
        network: a copy of the original with the weights that the file holds, in eval mode.
        lam: λ, nats per bit.
        score, original_score: of the compressed and the original network if they were judged, else None.
        task: the assumed meaning of the outputs, and how they were judged, as text.
        promise: the limit on the drop that was checked, or None if nothing was judged.
        scores: of the compressed network, with the scores of single examples if they are known.
        original_bytes: of the original's tensors in their own types, tied ones once.
        trials: λ, bytes and score of each attempt.
        notes: notes for the user, one sentence each.
        seconds: duration of the compression.
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
        """How much the score fell, or None if nothing was judged; a share of the original's unless it is accuracy."""
        fell = self._fell
        return None if fell is None else fell.mean

    @property
    def drop_se(self) -> float | None:
        """Standard error of :attr:`drop`, from paired differences; None without scores of single examples."""
        fell = self._fell
        return None if fell is None else fell.se

    @property
    def judged_on(self) -> int | None:
        """Number of judging examples, or None if it is not known."""
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
        """The generalization bound that follows from the length of the file, with its assumptions.

        Args:
            errors: wrong predictions of :attr:`network` on the training examples.
            n: number of training examples.
            delta: probability that a bound is wrong.

        Raises:
            SzilardError: a number is out of range.
        """
        return certificate(8 * len(self.data), errors, n, delta)

    def save(self, path: str | Path) -> None:
        """Write the file in one step. If this is interrupted, an existing file stays whole."""
        atomic.write(Path(path), self.data, follow=True)
