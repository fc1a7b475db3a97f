"""Choices about a prior from a run by folds of the given labels: by held-out NLL, and never by the free energy."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from szilard import atomic, bounded, plain_json
from szilard.bayes.noise import mix
from szilard.data import DataSet, Split
from szilard.errors import SzilardError
from szilard.run.result import is_number

FOLDS = 4
WIDEN = (1.0, 2.0, 4.0)  #: factors on the source's σ
COOLER = 0.1  #: the second temperature, in units of the method's
SLOWER = 0.1  #: the second learning rate of fine-tuning, in units of the method's
_DIGITS = 6  # significant, of the NLL of one example
_MOST_FILE = 1 << 28
_SALT = 0x666F6C64


@dataclass(frozen=True)
class Candidate:
    """One way to train.

    Attributes:
        widen: factor on the source's σ; None: no transfer, the method's own prior and start.
        temperature: T.
        lr: of fine-tuning, which is not Bayesian; None for the method itself.
    """

    widen: float | None = None
    temperature: float = 1.0
    lr: float | None = None

    @property
    def name(self) -> str:
        """For messages and files."""
        if self.lr is not None:
            return f"fine-tuning, lr {self.lr:g}"
        what = "no transfer" if self.widen is None else f"prior with {self.widen:g} σ"
        return f"{what}, T {self.temperature:g}"


def candidates(temperature: float, lr: float) -> list[Candidate]:
    """The ways that are compared, in the order in which they are preferred; see :func:`chosen`.

    The prior at each width, no transfer, each cooler T first, and fine-tuning.
    """
    temperatures = dict.fromkeys((COOLER * temperature, temperature))
    ways = [Candidate(widen, t) for widen in (*WIDEN, None) for t in temperatures]
    return ways + [Candidate(lr=rate) for rate in (lr, SLOWER * lr)]


def parts(train: Split, seed: int, *, stratify: bool) -> list[tuple[Tensor, Tensor]]:
    """Indices of (training, held-out) examples of each fold; every example is held out once.

    Args:
        train: the given labels.
        seed: of the assignment.
        stratify: spread each class over the folds as evenly as possible.

    Raises:
        SzilardError: fewer than two examples.
    """
    count = len(train)
    if count < 2:
        raise SzilardError(
            "a prior from a run is chosen by folds of the training examples, and there is one; give at least two"
        )
    order = torch.randperm(count, generator=torch.Generator().manual_seed(mix(_SALT, seed)))
    if stratify:
        order = order[train.y[order].argsort(stable=True)]
    number = torch.empty(count, dtype=torch.int64)
    folds = min(FOLDS, count)
    number[order] = torch.arange(count) % folds
    return [((number != k).nonzero().flatten(), (number == k).nonzero().flatten()) for k in range(folds)]


def fold_data(data: DataSet, part: tuple[Tensor, Tensor]) -> DataSet:
    """A data set that trains on a fold and is validated on what it holds out."""
    train, held = (Split(data.train.x[index], data.train.y[index]) for index in part)
    return replace(data, train=train, valid=held)


@dataclass
class Scores:
    """Held-out NLL of each candidate and fold, kept in a file so that a stopped run repeats none.

    Attributes:
        path: of the file, one JSON object on each line; None: nothing is kept.
        belongs: identifies the run; lines of another run count as absent.
        found: NLL of each held-out example by name of the candidate and fold, to six digits; one infinity for a
            candidate that diverged.
    """

    path: Path | None
    belongs: str
    found: dict[tuple[str, int], list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.path is None or not self.path.is_file():
            return
        text = bounded.read(self.path, _MOST_FILE, "remove it").decode("utf-8", errors="replace")
        kept = []
        for line in text.splitlines():
            with contextlib.suppress(ValueError, TypeError, KeyError):
                one = plain_json.loads(line)
                known = one["belongs"] == self.belongs and type(one["fold"]) is int
                if known and one["nll"] and all(map(is_number, one["nll"])):
                    self.found[str(one["candidate"]), one["fold"]] = [float(value) for value in one["nll"]]
                    kept.append(line + "\n")
        if "".join(kept) != text:  # a line that was cut short, or of another run
            atomic.write(self.path, "".join(kept).encode())

    def score(self, candidate: Candidate, fold: int, train: Callable[[], Tensor]) -> list[float]:
        """The NLL of a candidate on each held-out example ``[n]`` of a fold, from the file or by training."""
        key = candidate.name, fold
        if key not in self.found:
            each = [float(f"{value:.{_DIGITS}g}") for value in train().tolist()]
            finite = all(map(math.isfinite, each))
            self.found[key] = each if finite else [math.inf]
            if self.path is not None and finite:
                line = {"belongs": self.belongs, "candidate": candidate.name, "fold": fold, "nll": each}
                atomic.append(self.path, json.dumps(line))
        return self.found[key]

    def each(self, candidate: Candidate, folds: int) -> Tensor | None:
        """NLL of every example ``[N]``, fold by fold, float64; None if a training diverged."""
        values = [value for fold in range(folds) for value in self.found[candidate.name, fold]]
        return torch.tensor(values, dtype=torch.float64) if all(map(math.isfinite, values)) else None


@dataclass(frozen=True)
class Choice:
    """What the folds chose.

    Attributes:
        best: preferred of the prior and no transfer; the run trains by it.
        lowest: of these the one with the lowest NLL.
        without: preferred of those without transfer, for the control.
        fine_tuning: the best learning rate of the control.
        nll: mean held-out NLL of every candidate by name, nats (in units of the targets).
        folds: their number.
    """

    best: Candidate
    lowest: Candidate
    without: Candidate
    fine_tuning: Candidate
    nll: dict[str, float]
    folds: int

    def sentence(self) -> str:
        """The choice in one line."""
        best, other = self.best.name, self.without.name
        line = f"{self.folds} folds chose {best}: held-out NLL {self.nll[best]:.3g} nats"
        if best != other:
            line += f"; {self.nll[other]:.3g} without transfer"
        if self.lowest.name != best:
            line += f"; the lowest is {self.nll[self.lowest.name]:.3g} by {self.lowest.name}"
        return f"{line}; {self.nll[self.fine_tuning.name]:.3g} by fine-tuning"

    def to_dict(self) -> dict[str, Any]:
        """For ``result.json``."""
        return {
            "chosen": self.best.name,
            "without": self.without.name,
            "fine_tuning": self.fine_tuning.name,
            "folds": self.folds,
            "nll": self.nll,
        }


def chosen(scores: dict[Candidate, Tensor | None], folds: int) -> Choice:
    """The preferred candidates among those that the held-out labels do not tell from the best.

    The source is used if the lowest NLL with a prior is more than one standard error below the lowest without transfer,
    so that a wrong source is refused. Of the priors that are below the latter, or else of no transfer, the first in the
    order of ``scores`` is taken whose NLL is less than one standard error above the lowest (Breiman et al.,
    "Classification and Regression Trees", 1984, section 3.4.3). The errors are those of the mean of differences,
    example by example, as if examples were independent. Of fine-tuning the lowest is taken.

    Args:
        scores: NLL of the same examples ``[N]`` by each candidate; None if it diverged.
        folds: their number.

    Raises:
        SzilardError: every way to use the prior, and no transfer, diverged.
    """
    means = {one: math.inf if each is None else float(each.mean()) for one, each in scores.items()}
    bayesian = {one: each for one, each in scores.items() if one.lr is None and each is not None}
    if not bayesian:
        raise SzilardError(
            "no way to use the prior gave a finite held-out NLL; try a lower learning rate, or train without the prior"
        )
    alone = {one: each for one, each in bayesian.items() if one.widen is None}
    priors = {one: each for one, each in bayesian.items() if one.widen is not None}
    if alone and priors:
        rival = min(alone, key=means.__getitem__)
        if _excess(alone[rival], priors[min(priors, key=means.__getitem__)]) <= 1.0:
            priors = {}
        priors = {one: each for one, each in priors.items() if means[one] < means[rival]}
    first = next(one for one in scores if one.lr is None and one.widen is None)  # if all of them diverged
    return Choice(
        _preferred(priors or alone),
        min(bayesian, key=means.__getitem__),
        _preferred(alone) if alone else first,
        min((one for one in scores if one.lr is not None), key=means.__getitem__),
        {one.name: value for one, value in means.items()},
        folds,
    )


def _preferred(scores: dict[Candidate, Tensor]) -> Candidate:
    """The first that is less than a standard error above the lowest, or the lowest."""
    lowest = min(scores, key=lambda one: float(scores[one].mean()))
    return next(one for one in scores if one == lowest or _excess(scores[one], scores[lowest]) < 1.0)


def _excess(each: Tensor, other: Tensor) -> float:
    """How far the mean of one ``[N]`` is above that of the other, in standard errors of their difference."""
    difference = each - other
    mean = float(difference.mean())
    error = float(difference.std()) / math.sqrt(len(difference)) if len(difference) > 1 else 0.0
    return mean / error if error > 0 else math.copysign(math.inf, mean) if mean else 0.0
