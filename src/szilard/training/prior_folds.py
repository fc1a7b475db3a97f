"""Choices about a prior from a run by folds of the given labels: by held-out NLL, and never by the free energy."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Sequence
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
_MOST_FILE = 1 << 24
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
    """The ways that are compared: the prior at each width and T, no transfer at each T, and fine-tuning."""
    temperatures = dict.fromkeys((temperature, COOLER * temperature))
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
    """

    path: Path | None
    belongs: str
    found: dict[tuple[str, int], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.path is None or not self.path.is_file():
            return
        text = bounded.read(self.path, _MOST_FILE, "remove it").decode("utf-8", errors="replace")
        kept = []
        for line in text.splitlines():
            with contextlib.suppress(ValueError, TypeError, KeyError):
                one = plain_json.loads(line)
                if one["belongs"] == self.belongs and type(one["fold"]) is int and is_number(one["nll"]):
                    self.found[str(one["candidate"]), one["fold"]] = float(one["nll"])
                    kept.append(line + "\n")
        if "".join(kept) != text:  # a line that was cut short, or of another run
            atomic.write(self.path, "".join(kept).encode())

    def score(self, candidate: Candidate, fold: int, train: Callable[[], float]) -> float:
        """The NLL of a candidate on a fold, from the file or by training."""
        key = candidate.name, fold
        if key not in self.found:
            nll = train()
            self.found[key] = nll if math.isfinite(nll) else math.inf
            if self.path is not None and math.isfinite(nll):
                line = {"belongs": self.belongs, "candidate": candidate.name, "fold": fold, "nll": nll}
                atomic.append(self.path, json.dumps(line))
        return self.found[key]

    def mean(self, candidate: Candidate, sizes: Sequence[int]) -> float:
        """NLL per held-out example."""
        total = sum(size * self.found[candidate.name, fold] for fold, size in enumerate(sizes))
        return total / sum(sizes)


@dataclass(frozen=True)
class Choice:
    """What the folds chose.

    Attributes:
        best: of the prior and no transfer; the run trains by it.
        without: the best without transfer, for the control.
        fine_tuning: the best learning rate of the control.
        nll: mean held-out NLL of every candidate by name, nats (in units of the targets).
        folds: their number.
    """

    best: Candidate
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


def chosen(scores: dict[Candidate, float], folds: int) -> Choice:
    """The best candidates; of equal ones the first."""
    bayesian = [one for one in scores if one.lr is None]
    tuned = [one for one in scores if one.lr is not None]
    if not any(math.isfinite(scores[one]) for one in bayesian):
        raise SzilardError(
            "no way to use the prior gave a finite held-out NLL; try a lower learning rate, or train without the prior"
        )
    return Choice(
        min(bayesian, key=scores.__getitem__),
        min((one for one in bayesian if one.widen is None), key=scores.__getitem__),
        min(tuned, key=scores.__getitem__),
        {one.name: value for one, value in scores.items()},
        folds,
    )
