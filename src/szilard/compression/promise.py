"""The limit on the drop of the score, with a confidence that it is kept on other examples, too."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from szilard.compression.calibration import EXAMPLES, to_give
from szilard.compression.intervals import counted, quantile, standard_error, student
from szilard.compression.judge import Scores
from szilard.errors import SzilardError

SLACK = 1e-7  # 1 - 0.995 - 0.005 is not 0 in floats
FEW = 100  # with fewer examples, a note is added
FEW_OF = 30  # a note is added if fewer than one in this many examples determine the error
CHOSEN_BY_FEW = EXAMPLES * 5 // 4  # with fewer examples, the same ones are used for the fit and for judging
COARSER = 0.8  # confidence for right and wrong predictions if probabilities have a higher one
CALIBRATED = 0.1  # most by which the mean probability of labels can be below the score
SOON = 1e-3  # probability that can be lost if no prediction may change; more if examples are few
SOME = 10  # changes are few if they occur in less than one of this many examples
TOO_GOOD = 0.995  # accuracy on examples outside the training set is rarely higher


@dataclass(frozen=True)
class Drop:
    """How much a score fell.

    Attributes:
        mean: of the paired differences; a share of the original's score if the score is relative.
        se: its standard error, or None without scores of single examples.
        upper: upper end of the one-sided interval, which must be within the limit.
    """

    mean: float
    se: float | None
    upper: float


@dataclass(frozen=True, eq=False)
class Promise:
    """The limit on a drop.

    Attributes:
        before: scores of the original.
        limit: largest drop allowed.
        confidence: that the drop on other examples keeps the limit; 0: only the drop on these examples does.
    """

    before: Scores
    limit: float
    confidence: float

    @property
    def examples(self) -> int | None:
        """Number of judging examples, or None if it is not known."""
        return None if self.before.values is None else len(self.before.values)

    @property
    def counted(self) -> bool:
        """Whether every example is right or wrong; without labels, the same as the original's or different."""
        return self.before.steps or (not self.before.relative and _counts(self.before.values))

    @property
    def needed(self) -> int | None:
        """Least number of examples that can guarantee the limit even if no prediction changes; None if none can."""
        if not self.confidence or not self.limit:
            return None
        return math.ceil(-math.log(1 - self.confidence) / self.limit)

    @property
    def too_few(self) -> bool:
        """Whether these examples are too few to guarantee the limit by counting right and wrong predictions."""
        if not self.confidence or not self.counted:
            return False
        assert self.examples is not None
        return self.needed is None or self.examples < self.needed

    @property
    def too_good(self) -> bool:
        """Whether the original was perhaps trained on these examples, because it is right on nearly all."""
        return self.counted and not self.before.steps and self.before.score > TOO_GOOD

    @property
    def chosen_by_few(self) -> bool:
        """Whether the best of several attempts could be best by chance on these few examples."""
        return bool(self.confidence and self.examples is not None and self.examples < CHOSEN_BY_FEW)

    @property
    def calibrated(self) -> bool:
        """Whether the mean probability of labels is close to the score, so that both fall alike."""
        known = self.before.label_probability
        return known is not None and self.before.score - float(known.mean()) <= CALIBRATED

    def drop(self, after: Scores) -> Drop:
        """The drop of a compressed network.

        The best of several attempts is chosen, which on few examples can be best by chance. Then a mean gain counts as
        zero, and the probability of labels, which depends less on chance than the number of right predictions, must be
        kept as well. If it is calibrated, it carries the confidence, and the interval of the count is narrower.
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
            by_probability = self.chosen_by_few and self.calibrated
            confidence = min(self.confidence, COARSER) if by_probability else self.confidence
            wide = self._wide(after, quantile(confidence), scale)
            upper = (max(mean, 0.0) if self.chosen_by_few else mean) + wide
        if self.confidence and not self.limit and self.counted and self._comparable(after):
            upper = self._nothing_lost(after)
        elif self.confidence and (self.too_few or self.too_good or self.chosen_by_few):
            upper = max(upper, self._probability_lost(after))
        guess = self.before.guessing or 0.0
        if self.before.relative and self.confidence and 0 < guess < self.before.score:
            # Vectors with a common direction keep a high cosine even if all their differences are lost.
            upper = upper * self.before.score / (self.before.score - guess)
        return Drop(mean, se if len(differences) > 1 else None, upper)

    def _wide(self, after: Scores, z: float, scale: float) -> float:
        """Width of the one-sided interval of the mean difference."""
        assert self.before.values is not None
        assert after.values is not None
        differences = self.before.values - after.values
        if self.before.steps:  # each changed prediction loses at most the largest difference
            return counted(differences, z) * float(differences.abs().max() or 1.0)
        if self.counted and self._comparable(after):
            return counted(differences, z)
        usual = student(z, len(differences)) * standard_error(differences) / scale
        changed = differences[differences != 0].abs()
        if self.before.relative or not self.limit or len(changed) * SOME > len(differences):
            return usual
        # If values differ in few examples or none, as shares of right labels do, their spread is not known.
        size = float(changed.mean()) if len(changed) else float(self.before.values.std())
        return max(usual, counted(differences, z) * size)

    def _comparable(self, after: Scores) -> bool:
        return self.before.steps or _counts(after.values)

    def _nothing_lost(self, after: Scores) -> float:
        """Above 0 if a right prediction is lost, or so much probability that one is likely to be lost.

        No number of examples can guarantee a drop of exactly 0; no rounding would be allowed.
        """
        assert self.before.values is not None
        assert after.values is not None
        lost = float((self.before.values > after.values).double().mean())
        return lost if lost else max(0.0, self._probability_lost(after) - max(SOON, 0.5 / len(after.values)))

    def _probability_lost(self, after: Scores) -> float:
        """Upper end of the loss of probability of the labels, or of the original's predictions."""
        if self.before.label_probability is None or after.label_probability is None:
            return -math.inf
        lost = self.before.label_probability - after.label_probability
        mean = max(0.0, float(lost.mean())) if self.chosen_by_few else float(lost.mean())
        return mean + student(quantile(self.confidence), len(lost)) * standard_error(lost)

    def excess(self, after: Scores) -> float:
        """How far a drop exceeds the limit; at most 0 is allowed."""
        return self.drop(after).upper - self.limit - SLACK

    def why_uncertain(self, after: Scores) -> str:
        """A clause if a drop is small enough on the examples, and perhaps too large on others; else ""."""
        found = self.drop(after)
        if not self.limit or not found.mean <= self.limit < found.upper - SLACK:
            return ""
        return (
            f"its drop on other examples can be up to {found.upper:.2g} with confidence {self.confidence:g}, judged by "
            f"{self.examples:,} examples"
        )

    @property
    def effective_examples(self) -> int | None:
        """Number of examples that determine the error of quantities, if they are few; else None.

        The number of equal squared errors whose sum has the same variance, (Σ e²)² / Σ e⁴ (Kish's effective sample
        size): a third of the examples if errors are normal.
        """
        if not self.before.relative or self.before.values is None or self.before.guessing is None:
            return None
        errors = (1 - self.before.values).clamp_min(0)
        if not float(errors.square().sum()) > 0:
            return None
        many = float(errors.sum().square() / errors.square().sum())
        return max(1, round(many)) if many < len(errors) / FEW_OF else None

    def notes(self) -> list[str]:
        """Notes for the user about the examples."""
        found = []
        finer = (
            ""
            if self.before.label_probability is None or not self.limit
            else ", and the lost probability is limited, too"
        )
        if self.confidence and self.before.values is None:
            found.append(
                "evaluate returns one number, so the drop is kept on its examples and not guaranteed on others; let it "
                "return a tensor with a value for each example"
            )
        elif self.too_few:
            enough = f"; {self.needed:,} are enough" if self.needed is not None else ""
            if self.before.steps and self.needed is not None:
                enough += f" (give {to_give(self.needed):,} without labels, so that this many judge)"
            found.append(
                "no number of examples can guarantee a drop of at most 0 on others: it is kept on the "
                f"{self.examples} judging examples only"
                if self.needed is None
                else f"{self.examples} examples are too few to guarantee a drop of at most {self.limit:g} on others"
                f"{enough}{finer}"
            )
        elif self.confidence and self.examples is not None and self.examples < FEW:
            found.append(
                f"{self.examples} judging examples are few, so the drop on others is uncertain: give more"
            )
        if self.effective_examples is not None:
            found.append(
                f"about {self.effective_examples} of the {self.examples:,} judging examples determine the score, "
                "because their errors are much larger than the others': give evaluate with a better score, such as "
                "errors of logarithms, or more examples"
            )
        if self.too_good:
            so = finer.replace("and", "so", 1).replace(", too", "")
            found.append(
                f"the original is right on {100 * self.before.score:.1f} % of the judging examples: either it was "
                f"trained on them, or the task is easy{so}; judge by examples that it was not trained on"
            )
        return found


def check_confidence(confidence: float) -> None:
    """Check a confidence.

    Raises:
        SzilardError: it is not 0 or between 0.5 and 1.
    """
    if confidence != 0 and not 0.5 <= confidence < 1:
        raise SzilardError(f"confidence must be 0 or between 0.5 and 1, not {confidence}")


def _counts(values: Tensor | None) -> bool:
    return values is not None and bool(((values == 0) | (values == 1)).all())
