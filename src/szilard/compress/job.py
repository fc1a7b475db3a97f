"""One compression: attempts at different λ, and the choice among them."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from szilard import file
from szilard.compress.answers import call
from szilard.compress.discard import run as run_passes
from szilard.compress.document import to_document
from szilard.compress.draft import Draft, Pass, Setting
from szilard.compress.judge import Forward, Scores
from szilard.compress.promise import Promise, check_original, finite, scored
from szilard.compress.rows import BITS, rounding
from szilard.compress.search import best, largest_allowed
from szilard.errors import SzilardError, SzilardWarning
from szilard.likelihood import Likelihood

Evaluate = Callable[[nn.Module], float | Tensor | Scores]
REFINEMENTS = (0.5, 0.25)  # octaves of λ that a costly pass is hoped to be worth, one if the first is allowed
BYTES_REFINEMENTS = 3
FULL = 0.97  # of the bytes allowed


class _NoneKeepsError(SzilardError):
    pass


@dataclass(eq=False)
class Attempt:
    """What one λ gave."""

    lam: float
    draft: Draft
    data: bytes
    ledger: file.Ledger
    scores: Scores | None

    @property
    def score(self) -> float | None:
        return None if self.scores is None else self.scores.score


@dataclass(frozen=True)
class Wish:
    """What was asked for: exactly one of the first three.

    Attributes:
        confidence: of a promise (:class:`~szilard.compress.promise.Promise`).
        cap: with ``max_drop``: λ that is not exceeded, and taken if it keeps the drop.
    """

    max_drop: float | None
    max_bytes: int | None
    lam: float | None
    confidence: float
    cap: float | None = None


@dataclass(eq=False)
class Job:
    """A network, what is known of its data, and the passes.

    Attributes:
        start: λ that is tried first.
        judge: scores of a network, or None.
        before: scores of the original.
        promise: that the attempts were held to.
        tried: λ, bytes and score of every attempt.
        memo: what passes found out about the network, whatever λ is.
    """

    original: nn.Module
    inputs: Sequence[Tensor]
    passes: Sequence[Pass]
    seed: int
    meta: dict[str, Any]
    judge: Callable[[nn.Module], object] | None
    start: float
    tell: Callable[[str], None]
    likelihood: Likelihood | None = None
    forward: Forward = call
    before: Scores | None = None
    promise: Promise | None = None
    tried: list[tuple[float, int, float | None]] = field(default_factory=list)
    memo: dict[Any, Any] = field(default_factory=dict)

    def run(self, wish: Wish) -> Attempt:
        """The attempt that does what was asked for."""
        if self.judge is not None:
            self.before = finite(self._score(self.original), "the original")
            self.promise = Promise(self.before, wish.max_drop or 0.0, wish.confidence)
        if wish.lam is not None:
            return self.attempt(wish.lam, self.passes)
        if wish.max_drop is not None:
            assert self.promise is not None
            check_original(self.promise.before)
            promise = self.promise
            failed: SzilardError | None = None
            kept: Attempt | None = None
            try:
                kept = self._within_drop(promise, wish.cap)
            except _NoneKeepsError as error:  # rounding by row may do it all the same
                failed = error
            found = self._or_rows(
                kept, lambda one: one.scores is not None and promise.excess(one.scores) <= 0
            )
            if found is None:
                raise failed or SzilardError("no attempt keeps the drop; allow more")
            return found
        assert wish.max_bytes is not None
        most, made = wish.max_bytes, self._within_bytes(wish.max_bytes)
        if made.score is None:
            return made
        found = self._or_rows(
            made,
            lambda one: len(one.data) <= most,
            lambda one: -math.inf if one.score is None else one.score,
        )
        return found or made

    def attempt(self, lam: float, passes: Sequence[Pass]) -> Attempt:
        """Compress at one λ; what is judged is what the file holds."""
        draft = Draft(copy.deepcopy(self.original))
        setting = Setting(
            lam, self.inputs, self.original, self.seed, self.forward, self.likelihood, self.memo
        )
        run_passes(passes, draft, setting, None if self.judge is None else self._score)
        data, ledger = file.encode(to_document(draft, self.meta))
        draft.network.load_state_dict(file.to_state_dict(file.loads(data)))
        made = Attempt(lam, draft, data, ledger, None if self.judge is None else self._score(draft.network))
        self.tried.append((lam, len(data), made.score))
        judged = "" if made.score is None else f", score {made.score:.4f}"
        self.tell(f"λ = {lam:.2e}: {len(data):,} bytes{judged}")
        if made.scores is not None:
            finite(made.scores, f"the network that λ = {lam:.2e} gives")
        return made

    def _within_drop(self, promise: Promise, cap: float | None) -> Attempt:
        most = promise.limit

        def excess(made: Attempt) -> float:
            assert made.scores is not None
            return promise.excess(made.scores)

        if cap is not None:
            made = self.attempt(cap, self.passes)
            if excess(made) <= 0:
                return made

        def attempt(lam: float) -> tuple[float, Attempt]:
            made = self.attempt(lam, self._quick)
            return excess(made), made

        trials = largest_allowed(attempt, start=self.start if cap is None else cap / 2)
        found = best([trial for trial in trials if cap is None or trial.lam <= cap])
        if found is None:
            least = min((trial.excess for trial in trials), default=0.0) + most
            surely = (
                f" with confidence {promise.confidence:g}" if promise.confidence and promise.examples else ""
            )
            raise _NoneKeepsError(
                f"no λ keeps the drop within {most:g}{surely} (the least was {least:.4g}); the network may be more "
                "sensitive than the calibration data show: give more of them, or allow more"
            )
        chosen = found.result
        if len(self._quick) == len(self.passes):
            return chosen
        # Costly passes mend what rounding broke, so that a larger λ is allowed: by how much, is tried twice.
        octave = 0.0
        for step in REFINEMENTS:
            if cap is not None and found.lam * 2 ** (octave + step) > cap:
                continue
            made = self.attempt(found.lam * 2 ** (octave + step), self.passes)
            if excess(made) <= 0:
                octave += step
                chosen = min(chosen, made, key=lambda one: len(one.data))
        if chosen is found.result:
            made = self.attempt(found.lam, self.passes)
            if excess(made) <= 0 and len(made.data) <= len(chosen.data):
                chosen = made
        return chosen

    def _or_rows(
        self,
        chosen: Attempt | None,
        allowed: Callable[[Attempt], bool],
        worth: Callable[[Attempt], float] = lambda made: -len(made.data),
    ) -> Attempt | None:
        """The attempt, or rounding by row where that is allowed and worth more."""
        for bits in BITS:
            passes = rounding(self.passes, bits)
            if passes is None:
                break
            self.tell(f"for comparison, rounding each row to {bits} bits")
            try:
                made = self.attempt(self.start if chosen is None else chosen.lam, passes)
            except SzilardError:  # NaN answers
                break
            if allowed(made) and (chosen is None or worth(made) > worth(chosen)):
                text = (
                    f"rounding each row to {bits} bits does better here than rounding by curvature, and was taken; the "
                    "calibration data may be too few, or unlike those that the network was trained on"
                )
                warnings.warn(text, SzilardWarning, stacklevel=2)
                made.draft.notes.append(text)
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

    def _score(self, network: nn.Module) -> Scores:
        assert self.judge is not None
        with torch.no_grad():
            return scored(self.judge(network))
