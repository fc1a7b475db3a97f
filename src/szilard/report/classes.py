"""The table of precision and recall of each class; accuracy hides them if classes are of unequal size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from szilard.report import figure_names
from szilard.run.read import MethodRun, Run

_UNEQUAL = 3  # ratio of the largest to the smallest class from which classes are of unequal size
_MOST = 100  # rows of the table


@dataclass(frozen=True)
class Share:
    """A fraction with its 95 % interval, as text; empty if undefined."""

    text: str
    interval: str


@dataclass(frozen=True)
class OfClass:
    """A row of the table: one class, with (precision, recall) for each method."""

    name: str
    examples: int
    shares: tuple[tuple[Share, Share], ...]


@dataclass(frozen=True)
class Classes:
    """The table.

    Attributes:
        methods: the methods in its columns.
        unequal: whether the classes are of clearly different size.
        left_out: number of classes that are not shown.
    """

    methods: list[MethodRun]
    rows: list[OfClass]
    unequal: bool
    left_out: int


def are_unequal(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the largest class has at least three times the examples of the smallest.

    Args:
        rows: with "examples", as in ``by_class`` of ``result.json``.
    """
    sizes = [row["examples"] for row in rows]
    return len(sizes) > 1 and max(sizes) >= _UNEQUAL * max(1, min(sizes))


def classes(run: Run) -> Classes | None:
    """The classes of a run, for the methods evaluated on the same examples; None if there are none."""
    reported = [(m, m.result["by_class"]) for m in run.finished if m.result.get("by_class")]
    if not reported or len(reported[0][1]) < 2:
        return None
    first = [(row["class"], row["examples"]) for row in reported[0][1]]
    reported = [
        (m, rows) for m, rows in reported if [(row["class"], row["examples"]) for row in rows] == first
    ]
    rows = [
        OfClass(
            name,
            examples,
            tuple((_share(rows[i], "precision"), _share(rows[i], "recall")) for _, rows in reported),
        )
        for i, (name, examples) in enumerate(first[:_MOST])
    ]
    return Classes([m for m, _ in reported], rows, are_unequal(reported[0][1]), max(0, len(first) - _MOST))


def _share(row: Mapping[str, Any], key: str) -> Share:
    if row[key] is None:
        return Share(figure_names.UNKNOWN, "")
    low, high = row[f"{key}_interval"]
    return Share(figure_names.percent(row[key]), figure_names.span(figure_names.percent, low, high))
