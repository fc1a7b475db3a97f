"""A stream in progress: what one row does, and the state between two rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from szilard import plain_json, spreadsheet
from szilard.adapt.streaming.change_log import ChangeLog
from szilard.adapt.streaming.class_contest import ClassContest
from szilard.adapt.streaming.contest import Contest, part
from szilard.adapt.streaming.layout import Layout
from szilard.adapt.streaming.number_contest import NumberContest
from szilard.adapt.streaming.rows import Rows
from szilard.adapt.streaming.scores import Scores
from szilard.adapt.streaming.settings import StreamSettings
from szilard.adapt.streaming.trace import Trace
from szilard.errors import SzilardError

VERSION = 2
_PLAIN = "stream.plain"


class Stream:
    """Learner, controls, scores and logs.

    Attributes:
        row: rows read so far, over all files.
        skipped: rows without some feature.
        unlabelled: rows without a target, which are predicted and not learned.
    """

    def __init__(self, settings: StreamSettings, layout: Layout) -> None:
        self.settings, self.layout = settings, layout
        kind = NumberContest if layout.of_numbers else ClassContest
        self.contest: Contest = kind(settings, layout)
        self.scores = Scores(len(self.contest.names))
        self.trace = Trace(len(self.contest.names))
        self.log = ChangeLog(self.contest.learner.filter_)
        self.row = self.skipped = self.unlabelled = 0

    @property
    def classes(self) -> list[str]:
        """Classes that have occurred."""
        return self.contest.labels if isinstance(self.contest, ClassContest) else []

    def header(self) -> list[str]:
        """The columns of ``predictions.csv``."""
        return ["row", "line", "target", *self.contest.columns(), "log_probability"]

    def step(self, rows: Rows, number: int) -> tuple[str, str | None]:
        """Predict a row, then learn it.

        Returns:
            its line of ``predictions.csv``, and a line of ``changes.csv`` or None.
        """
        self.row += 1
        line, target = rows.lines[number], rows.targets[number]
        learner = self.contest.learner
        start: list[Any] = [self.row, line, f"{target:.12g}" if isinstance(target, float) else target]
        if not rows.complete[number]:
            self.skipped += 1
            self.log.skip(self._learned())
            if target is not None:
                self.contest.pass_by(target)
            return as_line([*start, *[None] * len(self.contest.columns()), None]), None
        predicted = self.contest.predict(rows.features(number))
        if target is None:
            self.unlabelled += 1
            self.log.skip(self._learned())
            return as_line([*start, *predicted, None]), None
        logs, errors = self.contest.learn(target)
        scored = not np.isnan(logs).any()
        if scored and not (np.isfinite(logs).all() and np.isfinite(errors).all()):
            raise SzilardError("a target is too far from those before it to compute with; correct it")
        if scored:
            self.scores.add(logs, errors)
        if self.trace.add(logs, errors):
            filter_ = learner.filter_
            self.trace.close(self.row, filter_.width(), filter_.rate(), self._age())
        change = self.log.look(learner.filter_, self.row, line) if self._filtered() else None
        written = as_line([*start, *predicted, float(logs[0]) if scored else None])
        return written, None if change is None else as_line(change)

    def _learned(self) -> int:
        """Rows that were learned; the first ones of a number target wait until its scale is known."""
        return self.row - self.skipped - self.unlabelled

    def _filtered(self) -> bool:
        """Whether the filter has learned the last row."""
        return self.contest.learner.filter_.rows > 0

    def _age(self) -> float:
        """Rows since the last change of the most probable hypothesis."""
        filter_ = self.contest.learner.filter_
        last = filter_.tracks.last_change[int(filter_.tracks.log_weight.argmax())]
        return float(filter_.rows - max(int(last), 0))

    def state_dict(self, position: dict[str, Any]) -> dict[str, np.ndarray]:
        """Everything that rows changed. The arrays of the learner keep their names.

        Args:
            position: where the stream is in its files, as JSON.
        """
        plain = {
            "version": VERSION,
            "layout": self.layout.plain(),
            "row": self.row,
            "skipped": self.skipped,
            "unlabelled": self.unlabelled,
            "log": self.log.plain(),
            "position": position,
        }
        return {
            **self.contest.state_dict(),
            **{f"scores.{name}": values for name, values in self.scores.state_dict().items()},
            **{f"trace.{name}": values for name, values in self.trace.state_dict().items()},
            _PLAIN: np.array(json.dumps(plain)),
        }

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue; raises SzilardError, ValueError, KeyError, TypeError or IndexError if the state is damaged."""
        plain = plain_of(state)
        self.row, self.skipped, self.unlabelled = (
            counted(plain[name]) for name in ("row", "skipped", "unlabelled")
        )
        self.contest.load_state_dict(state)
        self.scores.load_state_dict(part(state, "scores."))
        self.trace.load_state_dict(part(state, "trace."))
        self.log.load_plain(plain["log"])
        if self.contest.learner.filter_.rows > self.row or self.scores.count > self.row:
            raise ValueError("rows")


def plain_of(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The part of a state that is JSON.

    Raises:
        ValueError, KeyError: there is none.
        SzilardError: it is of a later version.
    """
    plain = plain_json.loads(str(state[_PLAIN]))
    if not isinstance(plain, dict):
        raise ValueError("not a table")
    if plain["version"] != VERSION:
        raise SzilardError("the state was written by another version of szilard; continue with that version")
    return plain


def counted(value: Any) -> int:
    """A whole number from 0; raises ValueError for anything else."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("not a number of rows")
    return value


def as_line(cells: Any) -> str:
    """Cells of a line of a CSV file: text, whole numbers, numbers with eight digits, None for an empty cell."""
    return ",".join(map(_cell, cells))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return spreadsheet.cell(value)
    return str(value) if isinstance(value, int) else f"{value:.8g}"
