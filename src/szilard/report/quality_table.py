"""The table of quality and cost, with one row for each method."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from szilard.report import figure_names, significance
from szilard.report.figure_names import Figure
from szilard.run.read import MethodRun, Run, read


@dataclass(frozen=True)
class Cell:
    """One figure of one method.

    Attributes:
        figure: key in ``result.json``, for instance "nll".
        heading, hint: of its column; the heading has an arrow in the better direction.
        source: "quality", or the source of the cost: "counted", "estimated", "measured".
        value: None if unknown.
        text: the value with its unit.
        beside: relative to the deterministic baseline; empty in the baseline's row and if not meaningful.
        best: better than all other methods by more than chance. Quality is compared by paired differences over the test
            inputs (:mod:`szilard.report.significance`), counted or estimated costs by their shown values. Measured
            costs are not compared.
        interval: the 95 % interval of a quality figure if there are few test examples; else empty.
    """

    figure: str
    heading: str
    hint: str
    source: str
    value: float | None
    text: str
    beside: str
    best: bool
    interval: str = ""


@dataclass(frozen=True)
class Row:
    """One method; finished methods have the same columns, unfinished ones have none."""

    key: str
    name: str
    is_baseline: bool
    finished: bool
    cells: tuple[Cell, ...]


def table(run_folder: Path | str) -> list[Row]:
    """The table of a run, with the methods in run order and the columns that at least one method fills.

    Raises:
        SzilardError: the folder holds no run.
    """
    return rows(read(Path(run_folder)))


def rows(run: Run) -> list[Row]:
    """See :func:`table`."""
    quality = [_figure(run, f) for f in figure_names.QUALITY]
    columns = [
        *(_column(run, f, "quality", {m.key: m.test.get(f.key) for m in run.finished}) for f in quality),
        *(
            _column(run, f, _source(run, f), {m.key: m.cost(f.key) for m in run.finished})
            for f in figure_names.COST
        ),
    ]
    return [
        Row(
            key=m.key,
            name=m.name,
            is_baseline=m is run.baseline,
            finished=m.finished,
            cells=tuple(column[m.key] for column in columns if m.key in column),
        )
        for m in run.methods
    ]


def _figure(run: Run, figure: Figure) -> Figure:
    # The NLL of a density depends on the unit of the target, so a ratio of two of them is not meaningful.
    is_density = figure.key == "nll" and run.target_type.in_units
    return replace(figure, compare="difference") if is_density else figure


def _source(run: Run, figure: Figure) -> str:
    known: MethodRun | None = next((m for m in run.finished if m.cost(figure.key) is not None), None)
    return "unknown" if known is None else known.source(figure.key)


def _column(run: Run, figure: Figure, source: str, values: dict[str, float | None]) -> dict[str, Cell]:
    """One cell for each finished method; empty if no method has the figure."""
    known = [value for value in values.values() if value is not None]
    if not known:
        return {}
    winner = _winner(run, figure, source, values)
    base = values.get(run.baseline.key) if run.baseline else None
    methods = {m.key: m for m in run.finished}
    cells = {}
    for key, value in values.items():
        text = figure_names.UNKNOWN if value is None else figure.show(value)
        compared = value is not None and base is not None and run.baseline and key != run.baseline.key
        cells[key] = Cell(
            figure=figure.key,
            heading=figure.directed,
            hint=figure.hint,
            source=source,
            value=value,
            text=text,
            beside=figure.beside(value, base) if compared else "",  # type: ignore[arg-type]
            best=key == winner,
            interval=_interval(methods[key], figure, source),
        )
    return cells


def _interval(method: MethodRun, figure: Figure, source: str) -> str:
    ends = method.result.get("intervals", {}).get(figure.key) if source == "quality" else None
    return "" if ends is None else figure_names.span(figure.show, *ends)


def _winner(run: Run, figure: Figure, source: str, values: dict[str, float | None]) -> str | None:
    """The method that is better than all others by more than chance, or None."""
    known = {key: value for key, value in values.items() if value is not None}
    best = min(known, key=lambda key: figure.loss(known[key]))
    others = [key for key in known if key != best]
    methods = {m.key: m for m in run.finished}
    if not others:
        return None
    if source == "quality":
        apart = all(significance.better(figure.key, methods[best], methods[key]) for key in others)
    else:
        shown = figure.show(known[best])
        apart = source in ("counted", "estimated") and all(figure.show(known[key]) != shown for key in others)
    return best if apart else None
