"""What stands below a table of figures: 95 % intervals where examples are few, and how each class fares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from szilard._cli import output
from szilard._cli.figures import LETTERS, QUALITY, Figure
from szilard._cli.table import Column, Table, show
from szilard.errors import printable
from szilard.report.classes import are_unequal

_MOST_CLASSES = 20
_WORTH = 100  # of a figure that the table above never leaves out


def print_below(
    rows: Sequence[Mapping[str, Any]], *, wide: bool = False, elsewhere: str = "--wide or --json shows them"
) -> None:
    """Print intervals of every row that has them, and the classes of the first row where they are unequal.

    Args:
        rows: as :func:`szilard._cli.figures.of_runs` gives them, with what :func:`szilard.training.details.of` gives.
        elsewhere: where columns can be seen that do not fit.
    """
    for table in tables(rows, elsewhere):
        output.say("")
        show(table, wide=wide)


def tables(rows: Sequence[Mapping[str, Any]], elsewhere: str = "--wide or --json shows them") -> list[Table]:
    """The same as tables; none where there is nothing to say."""
    found = [_intervals(rows, elsewhere)] if any(row.get("intervals") for row in rows) else []
    classes = rows[0].get("by_class") if rows else None
    if classes and len(classes) <= _MOST_CLASSES and are_unequal(classes):
        found.append(_classes(str(rows[0].get("name", "")), classes, elsewhere))
    return found


def _intervals(rows: Sequence[Mapping[str, Any]], elsewhere: str) -> Table:
    few = [row for row in rows if row.get("intervals")]
    columns = [Column(["method"], [printable(str(row.get("name", "")), LETTERS) for row in few], right=False)]
    sizes = [row.get("n_test") for row in few]
    same = len(set(sizes)) == 1
    if not same:
        columns.append(Column(["examples"], [str(size or "-") for size in sizes], worth=10))
    for key, figure in QUALITY.items():
        ends = [row["intervals"].get(key) for row in few]
        if any(ends):
            heading = [line for line in (figure.heading, figure.unit) if line]
            worth = _WORTH if figure.worth is None else figure.worth
            columns.append(Column(heading, [_span(figure, pair) for pair in ends], worth=worth))
    of = f", {sizes[0]} test examples" if same and sizes[0] else ""
    return Table(columns, title=f"95 % intervals{of}", turns=True, elsewhere=elsewhere)


def _span(figure: Figure, ends: Sequence[float] | None) -> str:
    if not ends:
        return "-"
    low, high = map(figure.show, ends)
    return f"{low} to {high}" if ends[0] < 0 else f"{low}–{high}"  # a dash beside a minus would be misread


def _classes(name: str, rows: Sequence[Mapping[str, Any]], elsewhere: str) -> Table:
    shares = {
        key: [_share(row[key], row[f"{key}_interval"]) for row in rows] for key in ("precision", "recall")
    }
    columns = [
        Column(["class"], [printable(str(row["class"]), LETTERS) for row in rows], right=False),
        Column(["examples"], [f"{row['examples']:,}" for row in rows], worth=10),
        *(Column([key, "(95 % interval)"], cells, worth=20) for key, cells in shares.items()),
    ]
    return Table(columns, title=f"Classes, {printable(name, LETTERS)}", elsewhere=elsewhere)


def _share(value: float | None, interval: Sequence[float]) -> str:
    return "-" if value is None else f"{value:.3f} ({interval[0]:.3f}–{interval[1]:.3f})"
