"""Quality × cost, a row a method."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from szilard.report import words
from szilard.report.read import MethodRun, Run, read


@dataclass(frozen=True)
class Cell:
    """One figure: what it says, how it compares to the deterministic baseline, whether it is the best."""

    text: str
    note: str = ""
    best: bool = False


@dataclass(frozen=True)
class Column:
    heading: str
    source: str  # "quality", or how the cost was found
    cells: list[Cell]


def columns(run: Run) -> list[Column]:
    """The columns that at least one finished method fills, cells in the order of ``run.finished``."""
    found = [c for name in words.QUALITY if (c := _quality(run.finished, name))]
    return found + [c for name in words.COST if (c := _cost(run, name))]


def table(run_folder: Path) -> list[dict[str, str]]:
    """The same as plain rows: ``{"method": ..., heading: text, ...}``."""
    run = read(Path(run_folder))
    found = columns(run)
    return [
        {"method": m.name} | {column.heading: column.cells[i].text for column in found}
        for i, m in enumerate(run.finished)
    ]


def _quality(methods: list[MethodRun], name: str) -> Column | None:
    heading, larger, digits = words.QUALITY[name]
    values = [m.test.get(name) for m in methods]
    known = [v for v in values if v is not None]
    if not known:
        return None
    best = None if larger is None or len(known) < 2 else (max(known) if larger else min(known))
    cells = [Cell("–") if v is None else Cell(f"{v:.{digits}f}", "", v == best) for v in values]
    return Column(heading, "test", cells)


def _cost(run: Run, name: str) -> Column | None:
    values = [m.cost(name) for m in run.finished]
    known = [v for v in values if v is not None]
    if not known:
        return None
    base = words.baseline(run)
    reference = base.cost(name) if base else None
    best = min(known) if len(known) > 1 else None
    cells = [
        Cell(
            words.figure(name, v),
            words.ratio(v, reference) if m is not base else "",
            v is not None and v == best,
        )
        for m, v in zip(run.finished, values, strict=True)
    ]
    source = next(m.result["cost"][name]["source"] for m in run.finished if m.cost(name) is not None)
    return Column(words.COST[name], source, cells)
