"""The result of a stream: figures of the method beside its controls, and what to say about them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from szilard.adapt.streaming.class_contest import ClassContest
from szilard.adapt.streaming.contest import PERSISTENCE
from szilard.adapt.streaming.stream import Stream

_FEW = 100  # scored rows below which figures are uncertain


@dataclass(frozen=True)
class Result:
    """What ``result.json`` holds.

    Attributes:
        data: the last file.
        target: the column that is predicted.
        task: "classification" or "regression".
        method, belief: as in the settings.
        rows: read so far, over all files.
        scored: rows that entered the figures.
        skipped: rows without some feature.
        unlabelled: rows without a target; they are predicted and not learned.
        classes: how many occurred, 0 for a number.
        changes: lines of the change log; None if the method detects none.
        width: of the belief now, 1 before the first row.
        rate: of forgetting before the next row, 1: nothing.
        predictors: a table of figures for the method and each control, the method first.
    """

    data: str
    target: str
    task: str
    method: str
    belief: str
    rows: int
    scored: int
    skipped: int
    unlabelled: int
    classes: int
    changes: int | None
    width: float
    rate: float
    predictors: list[dict[str, Any]] = field(default_factory=list)

    def to_json(self) -> str:
        """The content of the file."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @property
    def of_numbers(self) -> bool:
        """Whether the target is a number."""
        return any("rmse" in one for one in self.predictors)


def of(stream: Stream, data: str) -> Result:
    """The figures of a stream so far."""
    contest, settings = stream.contest, stream.settings
    figures = stream.scores.figures(of_numbers=stream.layout.of_numbers)
    names = zip(contest.names, contest.titles(), figures, strict=True)
    filter_ = contest.learner.filter_
    return Result(
        data, stream.layout.target, stream.layout.task, settings.method, settings.belief,
        stream.row, stream.scores.count, stream.skipped, stream.unlabelled,
        len(stream.classes) if isinstance(contest, ClassContest) else 0,
        stream.log.count if stream.log.columns else None,
        _rounded(filter_.width()), _rounded(filter_.rate()),
        [{"method": name, "name": title, **found} for name, title, found in names],
    )  # fmt: skip


def _rounded(value: float) -> float:
    """Without the noise of the last digits: 1 is 1."""
    return float(f"{value:.12g}")


def counted(result: Result) -> str:
    """A sentence that says which rows were scored."""
    parts = [f"{result.scored:,} of {result.rows:,} rows are scored, each predicted before it was learned"]
    rest = result.rows - result.skipped - result.unlabelled - result.scored
    if result.skipped:
        parts.append(f"{result.skipped:,} without some feature are skipped")
    if result.unlabelled:
        parts.append(f"{result.unlabelled:,} without a target are predicted only")
    if rest > 0:
        what = "the first of each class" if result.classes else "the first, which give the target's scale"
        parts.append(f"{rest:,} {'is' if rest == 1 else 'are'} {what}")
    return "; ".join(parts) + "."


def warnings(result: Result) -> list[str]:
    """Sentences on what is worse than copying the last target, and on few rows."""
    said = _worse(result)
    if 0 < result.scored < _FEW:
        rows = f"{result.scored:,} scored row{'s' * (result.scored > 1)}"
        said.append(f"Few rows: figures of {rows} are uncertain.")
    return said


def _worse(result: Result) -> list[str]:
    main = result.predictors[0]
    copy = next((one for one in result.predictors if one["method"] == PERSISTENCE), None)
    if copy is None or "nll" not in main:
        return []
    said = []
    what = "number" if result.of_numbers else "label"
    if main["nll"] > copy["nll"]:
        said.append(f"a lower NLL ({copy['nll']:.3f} against {main['nll']:.3f} nats)")
    if result.of_numbers and main["rmse"] > copy["rmse"]:
        said.append(f"a lower RMSE ({copy['rmse']:.4g} against {main['rmse']:.4g})")
    elif not result.of_numbers and main["accuracy"] < copy["accuracy"]:
        said.append(
            f"a higher accuracy ({100 * copy['accuracy']:.2f} against {100 * main['accuracy']:.2f} %)"
        )
    return [f"Copying the last {what} is better: it has {' and '.join(said)}."] if said else []
