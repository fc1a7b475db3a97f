"""One compression: attempts with different λ, and the choice between them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from szilard import file
from szilard.compression.attempt import Attempt, Goal, worth_of
from szilard.compression.copies import Working, emptied, fill
from szilard.compression.document import to_document
from szilard.compression.draft import Draft, Pass, Setting
from szilard.compression.evaluated import finite, scored
from szilard.compression.judge import Forward, Scores
from szilard.compression.memory import give_back, returned
from szilard.compression.original_score import check_original, guesses
from szilard.compression.outputs import call
from szilard.compression.pass_runner import run_passes
from szilard.compression.progress import Progress
from szilard.compression.promise import Promise
from szilard.compression.restore_network import restored_after
from szilard.compression.row_rounding import BITS, rounding
from szilard.compression.search import best, largest_allowed
from szilard.compression.shelf import Shelf
from szilard.compression.unrounded import unrounded
from szilard.errors import SzilardError, SzilardWarning
from szilard.likelihood import Likelihood

Evaluate = Callable[[nn.Module], float | Tensor | Scores]
REFINEMENTS = (
    0.5,
    0.25,
)  # octaves by which λ is increased for costly passes; each is kept if the drop allows it
BYTES_REFINEMENTS = 3
TRIALS, BYTES_TRIALS = 8, 10  # most attempts before refinements
FULL = 0.97  # share of the allowed bytes at which the search ends


@dataclass(eq=False)
class Job:
    """A network, its calibration data, and the passes.

    Attributes:
        start: λ of the first attempt.
        judge: scores a network, or None.
        before: scores of the original.
        promise: the limit on the drop of the attempts.
        tried: λ, bytes and score of every attempt.
        memo: results of passes that do not depend on λ.
        shelf: such results that take much memory, and the files.
        progress: shows the progress.
    """

    original: nn.Module
    inputs: Sequence[Any]
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
    shelf: Shelf = field(default_factory=Shelf)
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        self._working = Working(self.original)
        self._about = 1  # expected number of attempts
        self._least = math.inf  # smallest drop if no attempt keeps the limit
        self._last: Attempt | None = None  # the attempt whose weights the working copy has

    def run(self, goal: Goal) -> Attempt:
        """The attempt that reaches the goal."""
        with returned(self.original), self.progress:
            made = self._run(goal)
        if made.scores is not None and guesses(made.scores):
            of = f", judged by its output {made.scores.output}," if made.scores.output else ""
            text = f"the compressed network{of} is no better than guessing on the judging examples"
            warnings.warn(f"{text}; allow more bytes, or a smaller drop", SzilardWarning, stacklevel=3)
            made.notes.append(text)
        return made

    def _run(self, goal: Goal) -> Attempt:
        if self.judge is not None:
            self.progress.show("judging the original")
            self.before = finite(self._score(self._working.fresh()), "the original")
            self.promise = Promise(self.before, goal.max_drop or 0.0, goal.confidence)
        costly = len(self._quick) < len(self.passes)
        if goal.lam is not None:
            return self.attempt(goal.lam, self.passes)
        if goal.max_drop is not None:
            assert self.promise is not None
            check_original(self.promise.before)
            self._about = TRIALS + (len(REFINEMENTS) + 1 if costly else 0) + len(BITS)
            promise = self.promise
            kept = self._within_drop(promise, goal.cap)
            found = self._or_rows(
                kept, lambda one: one.scores is not None and promise.excess(one.scores) <= 0
            )
            found = found or unrounded(self.attempt, promise, self._least)
            if found is None:
                raise SzilardError(self._unkept(promise))
            return found
        assert goal.max_bytes is not None
        self._about = BYTES_TRIALS + (BYTES_REFINEMENTS if costly else 0) + len(BITS)
        most, made = goal.max_bytes, self._within_bytes(goal.max_bytes)
        if made.score is None:
            return made
        found = self._or_rows(
            made,
            lambda one: one.size <= most,
            lambda one: worth_of(one, self.before),
        )
        return found or made

    def attempt(self, lam: float, passes: Sequence[Pass]) -> Attempt:
        """Compress at one λ; the judged network is the one in the file."""
        self.progress.attempt(len(self.tried) + 1, self._about)
        self._last = None  # in case this attempt fails
        draft = Draft(self._working.fresh(), looks_back=any(getattr(p, "looks_back", False) for p in passes))
        setting = Setting(
            lam,
            self.inputs,
            self.original,
            self.seed,
            self.forward,
            self.likelihood,
            self.memo,
            self.shelf,
            self.progress,
        )
        run_passes(passes, draft, setting, None if self.judge is None else self._score)
        document, quantised = to_document(draft, self.meta), list(draft.quantised)
        network, notes = draft.network, draft.notes
        del draft  # the document has the levels
        with emptied(network, quantised):
            give_back(self.original)
            data, ledger = file.encode(document)
            del document
        give_back(self.original)
        fill(network, data)
        made = Attempt(lam, len(data), ledger, None, notes, self.shelf)
        self.shelf[made] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        del data
        give_back(self.original)
        if self.judge is not None:
            made.scores = self._score(network)
        if not self._working.intact():
            made.network = network
        self._last = made
        self.tried.append((lam, made.size, made.score))
        self.progress.end()
        judged = "" if made.score is None else f", score {made.score:.4f}"
        self.tell(f"λ = {lam:.2e}: {made.size:,} bytes{judged}")
        if made.scores is not None:
            finite(made.scores, f"the network that λ = {lam:.2e} gives")
        return made

    def network(self, made: Attempt) -> nn.Module:
        """A copy of the original with the weights of an attempt's file; no attempt can follow this call."""
        if made.network is not None:
            return made.network
        network = self._working.fresh() if made is not self._last else self._working.present()
        if made is not self._last:
            fill(network, made.data)
        self._working.let_go()
        return network

    def _within_drop(self, promise: Promise, cap: float | None) -> Attempt | None:
        """The attempt at the largest λ that keeps the drop, or None."""

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

        trials = largest_allowed(attempt, start=self.start if cap is None else cap / 2, trials=TRIALS)
        found = best([trial for trial in trials if cap is None or trial.lam <= cap])
        if found is None:
            self._least = min((trial.excess for trial in trials), default=0.0) + promise.limit
            return None  # rounding by row could still keep it
        chosen = found.result
        if len(self._quick) == len(self.passes):
            return chosen
        # Costly passes compensate errors of rounding, so a larger λ can be allowed: two larger ones are tried.
        octave = 0.0
        for step in REFINEMENTS:
            if cap is not None and found.lam * 2 ** (octave + step) > cap:
                continue
            made = self.attempt(found.lam * 2 ** (octave + step), self.passes)
            if excess(made) <= 0:
                octave += step
                chosen = min(chosen, made, key=lambda one: one.size)
        if chosen is found.result:
            made = self.attempt(found.lam, self.passes)
            if excess(made) <= 0 and made.size <= chosen.size:
                chosen = made
        return chosen

    def _unkept(self, promise: Promise) -> str:
        """The error message if no λ keeps the drop."""
        surely = f" with confidence {promise.confidence:g}" if promise.confidence and promise.examples else ""
        of = f" of the output {promise.before.output}" if promise.before.output else ""
        return (
            f"no λ keeps the drop{of} within {promise.limit:g}{surely} (the smallest was {self._least:.4g}); the "
            "network could be more sensitive than the calibration data show: give more data, or allow a larger drop"
        )

    def _or_rows(
        self,
        chosen: Attempt | None,
        allowed: Callable[[Attempt], bool],
        worth: Callable[[Attempt], tuple[float, ...]] = lambda made: (-made.size,),
    ) -> Attempt | None:
        """The attempt, or rounding by row if that is allowed and better."""
        text = ""
        for bits in BITS:
            passes = rounding(self.passes, bits)
            if passes is None:
                break
            self.tell(f"for comparison, rounding each row to {bits} bits")
            try:
                made = self.attempt(self.start if chosen is None else chosen.lam, passes)
            except SzilardError:  # NaN outputs
                break
            if chosen is not None and made.size < chosen.size and self.promise is not None and made.scores:
                uncertain = self.promise.why_uncertain(made.scores)
                if uncertain:
                    self.tell(f"not used, because {uncertain}")
            if allowed(made) and (chosen is None or worth(made) > worth(chosen)):
                chosen, text = (
                    made,
                    f"rounding each row to {bits} bits is better here than rounding by curvature, and was used; "
                    "perhaps the calibration data are too few or unlike the training data, or few examples determine "
                    "the score",
                )
        if chosen is not None and text:
            warnings.warn(text, SzilardWarning, stacklevel=2)
            chosen.notes.append(text)
        return chosen

    def _within_bytes(self, most: int) -> Attempt:
        def attempt(inverse: float) -> tuple[float, Attempt]:
            made = self.attempt(
                self.start**2 / inverse, self._quick
            )  # the search needs a size that grows with its argument, so it runs over 1 / λ
            return math.log2(made.size / most), made

        tried = [trial.result for trial in largest_allowed(attempt, start=self.start, trials=BYTES_TRIALS)]
        allowed = [made for made in tried if made.size <= most]
        if not allowed:
            least = min(made.size for made in tried)
            raise SzilardError(
                f"the file does not fit into {most} bytes; the smallest had {least}: allow that, or use a smaller "
                "network"
            )
        chosen = max(allowed, key=lambda one: worth_of(one, self.before))
        if len(self._quick) == len(self.passes):
            return chosen
        # Costly passes can save bytes, which a smaller λ then uses: bytes fall about with the square root of λ.
        lam, full = chosen.lam, []
        for _ in range(BYTES_REFINEMENTS):
            made = self.attempt(lam, self.passes)
            full.append(made)
            if FULL * most <= made.size <= most:
                break
            lam *= (made.size / (FULL * most)) ** 2
        fits = [made for made in full if made.size <= most]
        return max([chosen, *fits], key=lambda one: worth_of(one, self.before))

    @property
    def _quick(self) -> list[Pass]:
        return [one for one in self.passes if not getattr(one, "costly", False)]

    def _score(self, network: nn.Module) -> Scores:
        assert self.judge is not None
        with torch.no_grad(), restored_after(network):
            return scored(self.judge(network))
