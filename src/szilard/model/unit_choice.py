"""Choose the units that a network was trained in, by its score in each, and describe the choice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from szilard.model.unit_relation import UnitRelation

T = TypeVar("T")

CLEARLY = 0.01  # by which accuracy or R² in other units must exceed that in the usual units
_LOW = {"R²": 0.5}  # scores below this fraction of the way from guessing to 1 are called low
_LOW_ACCURACY = 0.25
_ADVICE = (
    "if the network was trained on inputs in other units, give them with --mean and --std, or change the data"
)
_LOW_IN_ALL = f"; this is low in all units that were tried: {_ADVICE}"
_LOW_IN_ONE = f"; this is low: {_ADVICE}"


@dataclass(frozen=True)
class Candidate(Generic[T]):
    """Data in one choice of units.

    Attributes:
        score: of the network on these data, higher is better; minus infinity if its outputs are not finite.
        what: the data in these units.
        text: a clause, such as "inputs are taken as they are in the data".
        relation: for a regression, the relation of outputs and targets; None if not known.
        where: a clause before ``text``, such as the orientation of images, ending in "; ".
    """

    score: float
    what: T
    text: str
    relation: UnitRelation | None = None
    where: str = ""


@dataclass(frozen=True)
class Choice(Generic[T]):
    """The chosen units.

    Attributes:
        what: the data in these units.
        score: of the network on these data.
        text: the units, the reason, and doubts about the choice: one sentence without its full stop.
        other_units: a sentence if outputs follow the targets in units that are not among the candidates; else empty.
        misjudged: the units are so wrong that the score cannot measure a drop.
    """

    what: T
    score: float
    text: str
    other_units: str = ""
    misjudged: bool = False


def choose(candidates: Sequence[Candidate[T]], by: str, *, guessing: float | None = None) -> Choice[T]:
    """The first candidate, which has the usual units, unless another one scores clearly better.

    Args:
        candidates: at least one.
        by: name of the score.
        guessing: the score of the best constant prediction; None if not known.
    """
    best = max(candidates, key=lambda one: one.score)
    taken = best if best.score > candidates[0].score + CLEARLY else candidates[0]
    related = [one for one in candidates if one.relation is not None and one.relation.explains(best.score)]
    hint, why, wrong = "", "", False
    if related:
        closest = max(related, key=lambda one: 0.0 if one.relation is None else abs(one.relation.r))
        own = taken.relation
        if taken.score <= 0 or own is None or not own.explains(taken.score) or own.forbids(taken.score):
            taken = closest
            why = (
                f", because outputs then follow the targets best (validation {by} is {_number(taken.score)})"
            )
        if taken.relation is not None:
            hint, wrong = _other_units(taken.relation), taken.relation.forbids(taken.score)
    text = f"{taken.where}{taken.text}{why or _why(taken, candidates, by)}"
    if not hint and _low(taken.score, by, guessing):
        text += _LOW_IN_ALL if len(candidates) > 1 else _LOW_IN_ONE
    return Choice(taken.what, taken.score, text, hint, wrong)


def _why(taken: Candidate[T], candidates: Sequence[Candidate[T]], by: str) -> str:
    others = [one for one in candidates if one is not taken]
    if not others:
        return f" (validation {by} is {_number(taken.score)})"
    second = max(others, key=lambda one: one.score)
    other = second.text if second.where == taken.where else f"{second.where}{second.text}"
    if second.score >= taken.score - CLEARLY and math.isfinite(second.score):
        return f" (validation {by} is {_number(taken.score)}; it is {_number(second.score)} if {other})"
    return f", because validation {by} is then {_number(taken.score)}, and {_number(second.score)} if {other}"


def _other_units(relation: UnitRelation) -> str:
    target, _, _ = relation.text.partition(" = ")
    how = f"rank correlation = {relation.r:.3f}" if relation.monotone else f"r = {relation.r:.3f}"
    about = "" if relation.monotone else "about "
    return (
        f"outputs follow {target} ({how}), but in other units ({about}{relation.text}): "
        "give the targets in the units of the network's outputs"
    )


def _low(score: float, by: str, guessing: float | None) -> bool:
    guess = guessing or 0.0
    return guess < 1 and (score - guess) / (1 - guess) < _LOW.get(by, _LOW_ACCURACY)


def _number(score: float) -> str:
    if not math.isfinite(score):
        return "not finite"
    return f"{score:.3f}" if abs(score) < 100 else f"{score:.3g}"
