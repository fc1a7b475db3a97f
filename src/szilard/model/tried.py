"""Which of several units a network was trained in, by its score in each, and what is said of the choice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from szilard.model.link import Link

T = TypeVar("T")

CLEARLY = 0.01  # of accuracy or R², by which other units must be better than the usual ones
_LOW = {"R²": 0.5}  # of the way from guessing to 1, below which a score is called low
_LOW_ACCURACY = 0.25
_ADVICE = (
    "if the network was trained on inputs in other units, give them with --mean and --std, or change the data"
)
_LOW_IN_ALL = f"; this is low in all units that were tried: {_ADVICE}"
_LOW_IN_ONE = f"; this is low: {_ADVICE}"


@dataclass(frozen=True)
class Tried(Generic[T]):
    """One way to read data.

    Attributes:
        score: of the network, the higher the better; minus infinity where its answers are not finite.
        what: the data read so.
        says: a clause, such as "inputs are taken as they are in the data".
        where: what is said before it, such as how pictures are turned, ending in "; ".
        link: of a regression, how its outputs follow the targets; None where that is not known.
    """

    score: float
    what: T
    says: str
    link: Link | None = None
    where: str = ""


@dataclass(frozen=True)
class Chosen(Generic[T]):
    """The way that was taken.

    Attributes:
        says: which, why, and what speaks against it: one sentence without its full stop.
        other_units: a sentence if outputs follow the targets in units that are none of those tried; else empty.
        misjudged: the units are so wrong that the score cannot measure a drop.
    """

    what: T
    score: float
    says: str
    other_units: str = ""
    misjudged: bool = False


def choose(tried: Sequence[Tried[T]], by: str, *, guessing: float | None = None) -> Chosen[T]:
    """The usual way, which is the first, unless another one scores clearly better.

    Args:
        tried: at least one.
        by: what the score is.
        guessing: the score of the best constant answer; None where it is not known.
    """
    best = max(tried, key=lambda one: one.score)
    taken = best if best.score > tried[0].score + CLEARLY else tried[0]
    linked = [one for one in tried if one.link is not None and one.link.explains(best.score)]
    hint, why, wrong = "", "", False
    if linked:
        follows = max(linked, key=lambda one: 0.0 if one.link is None else abs(one.link.r))
        link = taken.link
        if taken.score <= 0 or link is None or not link.explains(taken.score) or link.forbids(taken.score):
            taken = follows
            why = f", because outputs follow the targets best so ({by} on valid is {_number(taken.score)})"
        if taken.link is not None:
            hint, wrong = _other_units(taken.link), taken.link.forbids(taken.score)
    says = f"{taken.where}{taken.says}{why or _why(taken, tried, by)}"
    if not hint and _low(taken.score, by, guessing):
        says += _LOW_IN_ALL if len(tried) > 1 else _LOW_IN_ONE
    return Chosen(taken.what, taken.score, says, hint, wrong)


def _why(taken: Tried[T], tried: Sequence[Tried[T]], by: str) -> str:
    others = [one for one in tried if one is not taken]
    if not others:
        return f" ({by} on valid is {_number(taken.score)})"
    second = max(others, key=lambda one: one.score)
    other = second.says if second.where == taken.where else f"{second.where}{second.says}"
    if second.score >= taken.score - CLEARLY and math.isfinite(second.score):
        return f" ({by} on valid is {_number(taken.score)}; it is {_number(second.score)} if {other})"
    return f", because {by} on valid is {_number(taken.score)} so, and {_number(second.score)} if {other}"


def _other_units(link: Link) -> str:
    target, _, _ = link.says.partition(" = ")
    how = f"rank correlation = {link.r:.3f}" if link.monotone else f"r = {link.r:.3f}"
    about = "" if link.monotone else "about "
    return (
        f"outputs follow {target} ({how}), but in other units ({about}{link.says}): "
        "give the targets in the units that the network predicts"
    )


def _low(score: float, by: str, guessing: float | None) -> bool:
    guess = guessing or 0.0
    return guess < 1 and (score - guess) / (1 - guess) < _LOW.get(by, _LOW_ACCURACY)


def _number(score: float) -> str:
    if not math.isfinite(score):
        return "not finite"
    return f"{score:.3f}" if abs(score) < 100 else f"{score:.3g}"
