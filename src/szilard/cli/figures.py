"""Quality and cost of networks as a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from szilard.cli import run_paths
from szilard.cli.table import Column, Table
from szilard.cli.table import show as show_table
from szilard.errors import printable
from szilard.likelihood import targets
from szilard.report import figure_names
from szilard.run.folder import RunFolder

LETTERS = 200  # at most, of the name of a method

T = TypeVar("T")
#: "name", "quality" (metric -> value), "cost" (field -> {"value", "source"}), and DETAILS
Row = dict[str, Any]
ELSEWHERE = "--wide or report.html shows them"  # for columns of a run that do not fit
DETAILS = ("n_test", "intervals", "by_class", "by_target")  # of szilard.model.details, as far as known


def _plain(value: float) -> str:
    size = abs(value)
    return f"{value:.3f}" if size < 100 else f"{value:.0f}" if 1e4 <= size < 1e9 else f"{value:.4g}"


def _quantity(value: float) -> str:
    """A number in the units of the target, which may be of any size."""
    return f"{value:.3g}" if 0 < abs(value) < 0.1 else _plain(value)


def _percent(value: float) -> str:
    return f"{100 * value:.2f}"


def _seconds(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def si(value: float) -> str:
    """Three digits and an SI prefix, as short as a column needs: 669706 is 670k, 1.2e-7 is 120n."""
    number, _, prefix = figure_names.si(value).partition(" ")
    return (number.rstrip("0").rstrip(".") if "." in number else number) + prefix


@dataclass(frozen=True)
class Figure:
    """One figure: heading with an arrow in the better direction, unit, format, and worth (:class:`Column`)."""

    heading: str
    unit: str
    show: Callable[[float], str]
    worth: int | None


QUALITY = {
    "accuracy": Figure("accuracy ↑", "%", _percent, None),
    "accuracy_by_label": Figure("accuracy by label ↑", "%", _percent, None),
    "accuracy_all": Figure("all labels right ↑", "%", _percent, 65),
    "f1": Figure("F1 ↑", "", _plain, 85),
    "miou": Figure("mIoU ↑", "", _plain, None),
    "r2": Figure("R² ↑", "", _plain, None),
    "cosine": Figure("cosine ↑", "", _plain, None),
    "rmse": Figure("RMSE ↓", "of target", _quantity, None),
    "nll": Figure("NLL ↓", "nats", _plain, 90),
    "brier": Figure("Brier ↓", "", _plain, 30),
    "ece": Figure("ECE ↓", "", _plain, 70),
    "coverage95": Figure("95 % interval", "covers %", _percent, 70),
    "auroc_best": Figure("OOD AUROC ↑", "", _plain, 60),
}
COST = {
    "nonzeros": Figure("stored entries ↓", "", si, 50),
    "bits": Figure("memory ↓", "bytes", lambda bits: si(bits / 8), 80),
    "macs": Figure("MACs ↓", "", si, 55),
    "train_flops": Figure("training ↓", "FLOPs", si, 40),
    "joules_inference": Figure("inference ↓", "joules", si, 20),
    "seconds_per_inference": Figure("inference ↓", "seconds", si, 75),
    "seconds": Figure("training ↓", "seconds", _seconds, 45),
}


def show(runs: Sequence[Path], *, wide: bool = False) -> list[Row]:
    """Print a row for every finished method of some runs, and return the rows."""
    rows, title = of_runs(runs)
    print_rows(rows, title, wide=wide, elsewhere=ELSEWHERE)
    return rows


def of_runs(runs: Sequence[Path]) -> tuple[list[Row], str]:
    """A row for every finished method of some runs, and the data that they were evaluated on."""
    rows = []
    title = ""
    for run in runs:
        folder = RunFolder(run)
        for name in run_paths.methods_in_order(folder):
            if not folder.method(name).finished:
                continue
            result = folder.method(name).read_result()
            prefix = f"{run.name}: " if len(runs) > 1 else ""
            row = {"name": prefix + (result.get("name") or name), "run": str(run), "method": name}
            details = {key: result[key] for key in DETAILS if key in result}
            quality = named(result["test"], result.get("task", ""))
            rows.append(row | {"quality": quality, "cost": result.get("cost", {})} | details)
            title = f"{result.get('data', 'unknown data')}, test set" + (
                f"; OOD: {result['ood']}" if result.get("ood") else ""
            )
    return rows, title if len(runs) == 1 else "test sets"


def named(quality: dict[str, T], task: str) -> dict[str, T]:
    """Figures by the names of :data:`QUALITY`: the accuracy of a multilabel task is counted by label."""
    found = targets.known(task)
    return (
        quality if found is None else {found.figures.get(key, key): value for key, value in quality.items()}
    )


def print_rows(
    rows: Sequence[Row], title: str, *, wide: bool = False, elsewhere: str = "--wide or --json shows them"
) -> None:
    """Print the columns that at least one row has; the heading of a cost says how it was found."""
    columns = [Column(["method"], [printable(row["name"], LETTERS) for row in rows], right=False)]
    for key, figure in QUALITY.items():
        found = [row["quality"].get(key) for row in rows]
        if any(value is not None for value in found):
            columns.append(_column(figure, found, ""))
    for key, figure in COST.items():
        found = [_value(row, key) for row in rows]
        if any(value is not None for value in found):
            source = next(row["cost"][key]["source"] for row in rows if _value(row, key) is not None)
            columns.append(_column(figure, found, printable(source, LETTERS)))
    show_table(
        Table(columns, title=printable(title, LETTERS), transposes=True, elsewhere=elsewhere), wide=wide
    )


def _column(figure: Figure, values: Sequence[float | None], source: str) -> Column:
    heading = [line for line in (figure.heading, figure.unit, source) if line]
    return Column(
        heading, ["-" if value is None else figure.show(value) for value in values], worth=figure.worth
    )


def _value(row: Row, key: str) -> float | None:
    return row["cost"].get(key, {}).get("value")
