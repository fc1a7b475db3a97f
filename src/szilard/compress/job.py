"""One compression: attempts at different λ, and the choice among them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from szilard import file
from szilard.compress.document import to_document
from szilard.compress.draft import Draft, Pass, Setting
from szilard.compress.search import best, largest_allowed
from szilard.errors import SzilardError

Evaluate = Callable[[nn.Module], float]
REFINEMENTS = (0.5, 0.25)  # octaves of λ that a costly pass is hoped to be worth, one if the first is allowed
BYTES_REFINEMENTS = 3
FULL = 0.97  # of the bytes allowed


@dataclass(eq=False)
class Attempt:
    """What one λ gave."""

    lam: float
    draft: Draft
    data: bytes
    ledger: file.Ledger
    score: float | None


@dataclass(eq=False)
class Job:
    """A network, what is known of its data, and the passes.

    Attributes:
        start: λ that is tried first.
        before: score of the original.
        tried: λ, bytes and score of every attempt.
    """

    original: nn.Module
    inputs: Sequence[Tensor]
    passes: Sequence[Pass]
    seed: int
    meta: dict[str, Any]
    judge: Evaluate | None
    start: float
    tell: Callable[[str], None]
    before: float | None = None
    tried: list[tuple[float, int, float | None]] = field(default_factory=list)

    def run(self, max_drop: float | None, max_bytes: int | None, lam: float | None) -> Attempt:
        """The attempt that does what was asked for, by exactly one of the three."""
        self.before = None if self.judge is None else self._score(self.original)
        if lam is not None:
            return self.attempt(lam, self.passes)
        if max_drop is not None:
            return self._within_drop(max_drop)
        assert max_bytes is not None
        return self._within_bytes(max_bytes)

    def attempt(self, lam: float, passes: Sequence[Pass]) -> Attempt:
        """Compress at one λ; what is judged is what the file holds."""
        draft = Draft(copy.deepcopy(self.original))
        setting = Setting(lam, self.inputs, self.original, self.seed)
        for one in passes:
            one(draft, setting)
        data, ledger = file.encode(to_document(draft, self.meta))
        draft.network.load_state_dict(file.to_state_dict(file.loads(data)))
        score = None if self.judge is None else self._score(draft.network)
        self.tried.append((lam, len(data), score))
        judged = "" if score is None else f", score {score:.4f}"
        self.tell(f"λ = {lam:.2e}: {len(data):,} bytes{judged}")
        return Attempt(lam, draft, data, ledger, score)

    def _within_drop(self, most: float) -> Attempt:
        def excess(made: Attempt) -> float:
            assert made.score is not None
            assert self.before is not None
            return self.before - made.score - most

        def attempt(lam: float) -> tuple[float, Attempt]:
            made = self.attempt(lam, self._quick)
            return excess(made), made

        found = best(largest_allowed(attempt, start=self.start))
        if found is None:
            raise SzilardError(
                f"no λ keeps the drop within {most:g}; the network may be more sensitive than the calibration data "
                "show: give more of them, or allow more"
            )
        chosen = found.result
        if len(self._quick) == len(self.passes):
            return chosen
        # Costly passes mend what rounding broke, so that a larger λ is allowed: by how much, is tried twice.
        octave = 0.0
        for step in REFINEMENTS:
            made = self.attempt(found.lam * 2 ** (octave + step), self.passes)
            if excess(made) <= 0:
                octave += step
                chosen = min(chosen, made, key=lambda one: len(one.data))
        if chosen is found.result:
            made = self.attempt(found.lam, self.passes)
            if excess(made) <= 0 and len(made.data) <= len(chosen.data):
                chosen = made
        return chosen

    def _within_bytes(self, most: int) -> Attempt:
        def attempt(inverse: float) -> tuple[float, Attempt]:
            made = self.attempt(
                self.start**2 / inverse, self._quick
            )  # what is too large comes with the larger number
            return math.log2(len(made.data) / most), made

        tried = [trial.result for trial in largest_allowed(attempt, start=self.start, trials=10)]
        allowed = [made for made in tried if len(made.data) <= most]
        if not allowed:
            least = min(len(made.data) for made in tried)
            raise SzilardError(
                f"the file does not fit into {most} bytes; {least} is the least that was reached: allow that, or take "
                "a smaller network"
            )
        chosen = max(allowed, key=lambda made: len(made.data))
        if len(self._quick) == len(self.passes):
            return chosen
        # Costly passes may save bytes that a smaller λ then spends: bytes fall about as the root of λ.
        lam, full = chosen.lam, []
        for _ in range(BYTES_REFINEMENTS):
            made = self.attempt(lam, self.passes)
            full.append(made)
            if FULL * most <= len(made.data) <= most:
                break
            lam *= (len(made.data) / (FULL * most)) ** 2
        fits = [made for made in full if len(made.data) <= most]
        return max(fits, key=lambda made: len(made.data)) if fits else chosen

    @property
    def _quick(self) -> list[Pass]:
        return [one for one in self.passes if not getattr(one, "costly", False)]

    def _score(self, network: nn.Module) -> float:
        assert self.judge is not None
        with torch.no_grad():
            return float(self.judge(network))
