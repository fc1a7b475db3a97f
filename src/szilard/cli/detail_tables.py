"""Tables below the one of figures: 95 % intervals where examples are few, and figures of each class and target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from szilard.cli import output
from szilard.cli.figures import LETTERS, QUALITY, Figure
from szilard.cli.table import Column, Table
from szilard.cli.table import show as show_table
from szilard.errors import printable
from szilard.report.classes import are_unequal

_MOST_CLASSES = 20
_MOST_TARGETS = 50
_WORTH = 100  # of a figure that the main table never leaves out


def show(
    rows: Sequence[Mapping[str, Any]], *, wide: bool = False, elsewhere: str = "--wide or --json shows them"
) -> None:
    """Print the intervals of every row that has them, and the classes of the first row where they differ.

    Args:
        rows: as :func:`szilard.cli.figures.of_runs` gives them, with the values of :func:`szilard.model.details.of`.
        elsewhere: how to see columns that do not fit.
    """
    for table in tables(rows, elsewhere):
        output.say("")
        show_table(table, wide=wide)


def tables(rows: Sequence[Mapping[str, Any]], elsewhere: str = "--wide or --json shows them") -> list[Table]:
    """The tables that :func:`show` prints."""
    found = [_intervals(rows, elsewhere)] if any(row.get("intervals") for row in rows) else []
    first = rows[0] if rows else {}
    if first.get("by_target"):
        found.append(_targets(str(first.get("name", "")), first["by_target"], elsewhere))
    classes = first.get("by_class")
    if classes and len(classes) <= _MOST_CLASSES and are_unequal(classes):
        what = "Labels" if "accuracy_all" in first.get("quality", {}) else "Classes"
        found.append(
            _classes(f"{what}, {printable(str(first.get('name', '')), LETTERS)}", classes, elsewhere)
        )
    return found


def _intervals(rows: Sequence[Mapping[str, Any]], elsewhere: str) -> Table:
    few = [row for row in rows if row.get("intervals")]
    columns = [Column(["method"], [printable(str(row.get("name", "")), LETTERS) for row in few], right=False)]
    sizes = [row.get("n_test") for row in few]
    same = len(set(sizes)) == 1
    if not same:
        columns.append(Column(["examples"], [str(size or "-") for size in sizes], worth=10))
    for key, figure in QUALITY.items():
        ends = [_ends(row, key) for row in few]
        if any(ends):
            heading = [line for line in (figure.heading, figure.unit) if line]
            worth = _WORTH if figure.worth is None else figure.worth
            columns.append(Column(heading, [_span(figure, pair) for pair in ends], worth=worth))
    of = f", {sizes[0]} test examples" if same and sizes[0] else ""
    return Table(columns, title=f"95 % intervals{of}", transposes=True, elsewhere=elsewhere)


def _ends(row: Mapping[str, Any], key: str) -> Sequence[float] | None:
    """The interval of a figure; the accuracy of a multilabel task is counted by label."""
    ends = row["intervals"]
    if "accuracy_by_label" in row.get("quality", {}) and "accuracy" in ends:
        ends = {"accuracy_by_label" if name == "accuracy" else name: pair for name, pair in ends.items()}
    found: Sequence[float] | None = ends.get(key)
    return found


def _span(figure: Figure, ends: Sequence[float] | None) -> str:
    if not ends:
        return "-"
    low, high = map(figure.show, ends)
    return f"{low} to {high}" if ends[0] < 0 else f"{low}–{high}"  # a dash beside a minus would be misread


def _targets(name: str, rows: Sequence[Mapping[str, Any]], elsewhere: str) -> Table:
    shown = rows[:_MOST_TARGETS]
    columns = [Column(["target"], [printable(str(row["target"]), LETTERS) for row in shown], right=False)]
    for key, worth in (("r2", 30), ("rmse", 40), ("coverage95", 20)):
        figure = QUALITY[key]
        heading = [line for line in (figure.heading, figure.unit) if line]
        cells = ["-" if row.get(key) is None else figure.show(row[key]) for row in shown]
        columns.append(Column(heading, cells, worth=worth))
        if key == "rmse" and any(row.get("intervals") for row in shown):
            spans = [_span(figure, (row.get("intervals") or {}).get(key)) for row in shown]
            columns.append(Column(["RMSE,", "95 % interval"], spans, worth=10))
    left = len(rows) - len(shown)
    notes = [f"{left:,} more targets are in result.json and --json."] if left else []
    return Table(columns, title=f"Targets, {printable(name, LETTERS)}", elsewhere=elsewhere, notes=notes)


def _classes(title: str, rows: Sequence[Mapping[str, Any]], elsewhere: str) -> Table:
    shares = {
        key: [_share(row[key], row[f"{key}_interval"]) for row in rows] for key in ("precision", "recall")
    }
    columns = [
        Column(["class"], [printable(str(row["class"]), LETTERS) for row in rows], right=False),
        Column(["examples"], [f"{row['examples']:,}" for row in rows], worth=10),
        *(Column([key, "95 % interval"], cells, worth=20) for key, cells in shares.items()),
    ]
    return Table(columns, title=title, elsewhere=elsewhere)


def _share(value: float | None, interval: Sequence[float]) -> str:
    return "-" if value is None else f"{value:.3f} ({interval[0]:.3f}–{interval[1]:.3f})"
