"""Whether the original's score is good enough to measure a drop by."""

from __future__ import annotations

from szilard.compression.intervals import standard_error
from szilard.compression.judge import Scores
from szilard.compression.outputs import of_output
from szilard.errors import SzilardError

_CLEARLY = 1.2816  # standard errors: one-sided, 90 %
FEWEST = 16  # least number of different judging examples


def guesses(found: Scores) -> bool:
    """Whether a network is not clearly better than a constant prediction; False if that is not known."""
    if found.guessing is None or found.values is None:
        return False
    return found.score - found.guessing <= _CLEARLY * standard_error(found.values)


_UNITS = (
    "give labels in the units of its outputs (such as logarithms), or more inputs, or leave the labels out to judge by "
    "agreement with the original, or evaluate"
)
_CLASSES = (
    "give examples of other classes or more examples of rare ones, or leave the labels out to judge by agreement with "
    "the original, or evaluate, which returns recall or balanced accuracy"
)
_VECTORS = '; if its outputs are embeddings, give task="embedding"'
_OUTPUTS = "; if the labels belong to another output, give forward, which returns that one"


def check_original(before: Scores) -> None:
    """Refuse to judge a drop by a score that is no better than guessing, or by too few examples.

    Raises:
        SzilardError: it is, or they are.
    """
    with of_output(before.output):
        _check_original(before)


def _check_original(before: Scores) -> None:
    count = before.distinct if before.distinct is not None or before.values is None else len(before.values)
    if count is not None and count < FEWEST:
        few = "1 different example is" if count == 1 else f"{count} different examples are"
        raise SzilardError(
            f"{few} too few to judge a drop; let at least {FEWEST} judge ({4 * FEWEST} without labels, of which a "
            "quarter judges; 512 are better), or choose by size with max_bytes or lam"
        )
    if before.guessing is None or before.values is None or not guesses(before):
        return
    what, advice = ("a drop", _UNITS) if before.relative else ("a drop of accuracy", _CLASSES)
    advice += _VECTORS if before.vectors else ""
    advice += _OUTPUTS if before.output else ""
    raise SzilardError(
        f"the original is no better than guessing on these {len(before.values)} inputs (score {before.score:.4f} with "
        f"a standard error of {standard_error(before.values):.4f}, a constant prediction {before.guessing:.4f}), so "
        f"{what} cannot be judged: {advice}; or choose by size with max_bytes or lam"
    )
