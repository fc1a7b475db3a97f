"""A drop of the score that will be kept on other examples, too, as far as examples can tell."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from szilard.compression.answers import of_output
from szilard.compression.calibration import EXAMPLES, to_give
from szilard.compression.intervals import counted, quantile, standard_error, student
from szilard.compression.judge import Scores
from szilard.errors import SzilardError

SLACK = 1e-7  # 1 - 0.995 - 0.005 is not 0 in floats
_CLEARLY = 1.2816  # standard errors: one-sided, 90 %
FEWEST = 16  # different examples that judge a drop
FEW = 100  # of which a note is made
FEW_OF = 30  # an error that hangs on fewer than one in so many examples hangs on few
CHOSEN_BY_FEW = EXAMPLES * 5 // 4  # examples below which the same ones fit and judge
COARSER = 0.8  # confidence of right and wrong answers where probabilities are promised with more
CALIBRATED = 0.1  # by which the mean probability of labels may be less than the score
SOON = 1e-3  # probability that may be lost where no answer may, at least; more where examples are few
SOME = 10  # values are few that differ in less than one of so many examples
TOO_GOOD = 0.995  # accuracy on examples that were not trained on is seldom higher


@dataclass(frozen=True)
class Drop:
    """By how much a score fell.

    Attributes:
        mean: of the paired differences; a share of the original's score if the promise is relative.
        se: standard error of it, or None where single examples are not known.
        upper: upper end of the one-sided interval that must lie within what is allowed.
    """

    mean: float
    se: float | None
    upper: float


@dataclass(frozen=True, eq=False)
class Promise:
    """What a drop is compared with.

    Attributes:
        before: of the original.
        limit: that is allowed.
        confidence: that the drop on fresh examples keeps the limit; 0: the drop on these examples does.
    """

    before: Scores
    limit: float
    confidence: float

    @property
    def examples(self) -> int | None:
        """On how many it is judged, if that is known."""
        return None if self.before.values is None else len(self.before.values)

    @property
    def counted(self) -> bool:
        """Whether every example is right or wrong, with nothing between, or without labels the same or another."""
        return self.before.steps or (not self.before.relative and _counts(self.before.values))

    @property
    def needed(self) -> int | None:
        """Examples below which even a network that changes none of them is not promised to keep the limit."""
        if not self.confidence or not self.limit:
            return None
        return math.ceil(-math.log(1 - self.confidence) / self.limit)

    @property
    def too_few(self) -> bool:
        """Whether right and wrong on these examples promise nothing."""
        if not self.confidence or not self.counted:
            return False
        assert self.examples is not None
        return self.needed is None or self.examples < self.needed

    @property
    def too_good(self) -> bool:
        """Whether the original may have been trained on these examples, since it is right on nearly all."""
        return self.counted and not self.before.steps and self.before.score > TOO_GOOD

    @property
    def chosen_by_few(self) -> bool:
        """Whether the best of several attempts may be best by chance on these examples, so that finer figures judge."""
        return bool(self.confidence and self.examples is not None and self.examples < CHOSEN_BY_FEW)

    @property
    def calibrated(self) -> bool:
        """Whether the probability given to labels is about as high as the score, so that both fall alike."""
        sure = self.before.sureness
        return sure is not None and self.before.score - float(sure.mean()) <= CALIBRATED

    def drop(self, after: Scores) -> Drop:
        """Of a compressed network.

        Of several attempts, the one is chosen that comes off best, which on few examples is chance. There, a mean gain
        counts for nothing, and the probability that is given to labels, which hangs less on chance than the number of
        right answers does, must be kept as well; where it tells of them, it bears the confidence, and their interval
        is narrower.
        """
        scale = abs(self.before.score) if self.before.relative and self.before.score else 1.0
        mean = (self.before.score - after.score) / scale
        if self.before.values is None or after.values is None or len(after.values) != len(self.before.values):
            return Drop(mean, None, mean)
        if not math.isfinite(mean):
            return Drop(math.inf, None, math.inf)
        differences = self.before.values - after.values
        se = standard_error(differences) / scale
        upper = mean
        if self.confidence and not self.too_few:
            mends = self.chosen_by_few and self.calibrated
            wide = self._wide(
                after, quantile(min(self.confidence, COARSER) if mends else self.confidence), scale
            )
            upper = (max(mean, 0.0) if self.chosen_by_few else mean) + wide
        if self.confidence and not self.limit and self.counted and self._comparable(after):
            upper = self._nothing_lost(after)
        elif self.confidence and (self.too_few or self.too_good or self.chosen_by_few):
            upper = max(upper, self._unsure(after))
        guess = self.before.guessing or 0.0
        if self.before.relative and self.confidence and 0 < guess < self.before.score:
            # Vectors that share a direction keep their cosine when all that tells them apart is lost.
            upper = upper * self.before.score / (self.before.score - guess)
        return Drop(mean, se if len(differences) > 1 else None, upper)

    def _wide(self, after: Scores, z: float, scale: float) -> float:
        """Half the interval of the mean difference."""
        assert self.before.values is not None
        assert after.values is not None
        differences = self.before.values - after.values
        if self.before.steps:  # of another answer, that much is lost at most
            return counted(differences, z) * float(differences.abs().max() or 1.0)
        if self.counted and self._comparable(after):
            return counted(differences, z)
        usual = student(z, len(differences)) * standard_error(differences) / scale
        changed = differences[differences != 0].abs()
        if self.before.relative or not self.limit or len(changed) * SOME > len(differences):
            return usual
        # Values that differ in a few examples, or in none, as shares of right labels do: their spread is not known.
        size = float(changed.mean()) if len(changed) else float(self.before.values.std())
        return max(usual, counted(differences, z) * size)

    def _comparable(self, after: Scores) -> bool:
        return self.before.steps or _counts(after.values)

    def _nothing_lost(self, after: Scores) -> float:
        """What is above 0 if an answer is lost that was right, or if so much probability is that one soon would be.

        No examples promise a drop of 0, which would leave all weights as they are.
        """
        assert self.before.values is not None
        assert after.values is not None
        lost = float((self.before.values > after.values).double().mean())
        return lost if lost else max(0.0, self._unsure(after) - max(SOON, 0.5 / len(after.values)))

    def _unsure(self, after: Scores) -> float:
        """Upper end of the loss of the probability that was given to the labels, or to what the original answers."""
        if self.before.sureness is None or after.sureness is None:
            return -math.inf
        lost = self.before.sureness - after.sureness
        mean = max(0.0, float(lost.mean())) if self.chosen_by_few else float(lost.mean())
        return mean + student(quantile(self.confidence), len(lost)) * standard_error(lost)

    def excess(self, after: Scores) -> float:
        """How far a drop goes beyond the limit; at most 0 is allowed."""
        return self.drop(after).upper - self.limit - SLACK

    @property
    def hangs_on(self) -> int | None:
        """How many examples the error of quantities hangs on, if they are a few of many; else None.

        The number of equal squared errors whose sum varies alike, (Σ e²)² / Σ e⁴ (Kish's effective sample size): a
        third of the examples where errors are normal.
        """
        if not self.before.relative or self.before.values is None or self.before.guessing is None:
            return None
        errors = (1 - self.before.values).clamp_min(0)
        if not float(errors.square().sum()) > 0:
            return None
        many = float(errors.sum().square() / errors.square().sum())
        return max(1, round(many)) if many < len(errors) / FEW_OF else None

    def notes(self) -> list[str]:
        """What a person should know of the examples."""
        found = []
        finer = (
            "" if self.before.sureness is None or not self.limit else ", and the probability lost judges, too"
        )
        if self.confidence and self.before.values is None:
            found.append(
                "evaluate gives one number, so that the drop is kept on its examples and not promised on others; let "
                "it give a tensor with a value for each example"
            )
        elif self.too_few:
            enough = "" if self.needed is None else f"; {self.needed:,} would do"
            if self.before.steps and self.needed is not None:
                enough += f" (give {to_give(self.needed):,} without labels, of which so many judge)"
            found.append(
                f"{self.examples} examples are too few to promise a drop of at most {self.limit:g} on others"
                f"{enough}{finer}"
            )
        elif self.confidence and self.examples is not None and self.examples < FEW:
            found.append(f"{self.examples} examples say little of others: give more")
        if self.hangs_on is not None:
            found.append(
                f"the score hangs on about {self.hangs_on} of the {self.examples:,} judging examples, whose errors are "
                "far larger than those of the others: give evaluate, which judges by what counts, such as errors of "
                "logarithms, or more examples"
            )
        if self.too_good:
            so = finer.replace("and", "so that", 1)
            found.append(
                f"the original is right on {100 * self.before.score:.1f} % of the judging examples: it was either "
                f"trained on them, or the task is easy{so}; judge by examples that it was not trained on"
            )
        return found


def check_confidence(confidence: float) -> None:
    """Refuse what is no confidence.

    Raises:
        SzilardError: it is not 0 or between 0.5 and 1.
    """
    if confidence != 0 and not 0.5 <= confidence < 1:
        raise SzilardError(f"confidence must be 0 or lie between 0.5 and 1, and is {confidence}")


def guesses(found: Scores) -> bool:
    """Whether a network is no better than a constant answer, as far as that is known."""
    if found.guessing is None or found.values is None:
        return False
    return found.score - found.guessing <= _CLEARLY * standard_error(found.values)


def check_original(before: Scores) -> None:
    """Refuse to judge by the drop of a score that is no better than guessing, or of too few examples.

    Raises:
        SzilardError: it is.
    """
    with of_output(before.output):
        _check_original(before)


def _check_original(before: Scores) -> None:
    count = before.distinct if before.distinct is not None or before.values is None else len(before.values)
    if count is not None and count < FEWEST:
        few = "1 different example is" if count == 1 else f"{count} different examples are"
        raise SzilardError(
            f"{few} too few to judge a drop by; give at least {4 * FEWEST} (512 are "
            "better), or choose by size with max_bytes or lam"
        )
    if before.guessing is None or before.values is None:
        return
    se = standard_error(before.values)
    if guesses(before):
        raise SzilardError(
            f"the original does no better than guessing on these {len(before.values)} inputs (score "
            f"{before.score:.4f} with a standard error of {se:.4f}, a constant answer {before.guessing:.4f}), so that "
            "no drop of it can be judged: give labels in the units of its outputs (of a logarithm, say), or none, so "
            "that agreement with the original judges, or evaluate, or more inputs; or choose by size with max_bytes or "
            "lam"
        )


def _counts(values: Tensor | None) -> bool:
    return values is not None and bool(((values == 0) | (values == 1)).all())


def scored(given: object) -> Scores:
    """What a user's ``evaluate`` gave: a number, or a value for each example.

    Raises:
        SzilardError: neither.
    """
    if isinstance(given, Scores):
        return given
    if isinstance(given, np.ndarray | list | tuple):
        given = _tensor(given)
    if isinstance(given, Tensor) and given.dim() == 1 and len(given) > 1:
        values = given.detach().double().cpu()
        return Scores(float(values.mean()), values)
    try:
        return Scores(float(given))  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError) as error:
        raise SzilardError(
            f"evaluate gave {type(given).__name__}; let it give a number, or a tensor with a value for each example"
        ) from error


def _tensor(given: Any) -> Any:
    try:
        return torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError):
        return given


def finite(found: Scores, whose: str) -> Scores:
    """The scores, if they are numbers; minus infinity is a bad one.

    Raises:
        SzilardError: NaN.
    """
    if not math.isnan(found.score) and found.score != math.inf:
        return found
    of = f" by its output {found.output}" if found.output else ""
    raise SzilardError(
        f"the score of {whose}{of} is {found.score}; its outputs overflow, or the judge divides by zero: check the "
        "inputs, the weights and evaluate"
    )
