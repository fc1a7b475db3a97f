"""Pictures of solve.py: errors by layer and against seconds, of all solvers."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from solving import solve_tables
from solving.judging import RECOVERED_DB

#: Colour, line style and width of solvers. Okabe and Ito (2008): colour-blind people tell these colours apart.
WAYS: dict[str, tuple[str, str, float]] = {
    "HyperLISTA": ("#0072b2", "-", 2.4),
    "HyperLISTA without momentum": ("#56b4e9", "--", 1.3),
    "HyperLISTA without selection": ("#56b4e9", ":", 1.6),
    "ALISTA": ("#d55e00", "-", 1.6),
    "ALISTA without selection": ("#d55e00", ":", 1.6),
    "LISTA-CPSS": ("#cc79a7", "-", 1.6),
    "LISTA-CP": ("#cc79a7", ":", 1.6),
    "NA-ALISTA": ("#e69f00", "--", 1.3),
    "TiLISTA": ("#e69f00", "-", 1.3),
    "LISTA": ("#e69f00", ":", 1.6),
    "StepLISTA": ("#999999", "--", 1.3),
    "OMP": ("#000000", "-", 1.6),
    "FISTA, continuation": ("#009e73", "-", 1.6),
    "FISTA": ("#009e73", "--", 1.6),
    "FISTA, λ for 16": ("#009e73", ":", 1.3),
    "ISTA": ("#999999", "-", 1.6),
}
#: Of other libraries, which have a time to -40 dB and no layers.
MARKERS = {"celer": "o", "skglm": "s", "scikit-learn": "^", "scikit-learn, OMP": "D"}
_FLOOR = -105.0


def lines(found: dict[str, Any], method: str) -> tuple[list[int], list[float], list[float]]:
    """Layers, milliseconds and errors of a method: means over seeds, as far as all seeds go."""
    rows = [row for row in found["curves"] if row["method"] == method]
    count = min(len(row["layers"]) for row in rows)
    columns = [
        [statistics.fmean(row[key][place] for row in rows) for place in range(count)]
        for key in ("layers", "seconds", "ratio_db")
    ]
    return [round(layer) for layer in columns[0]], [1000 * value for value in columns[1]], columns[2]


def errors(found: dict[str, Any], path: Path) -> None:
    """Write the picture: errors by layer on the left, against milliseconds on the right."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 5.6), sharey=True, layout="constrained")
    figure.get_layout_engine().set(wspace=0.04)  # type: ignore[union-attr]
    for method in [method for method in WAYS if method in solve_tables.methods(found)]:
        layers, milliseconds, decibels = lines(found, method)
        colour, style, width = WAYS[method]
        for panel, along in ((left, layers), (right, milliseconds)):
            panel.plot(along, decibels, style, color=colour, linewidth=width, label=method)
    _libraries(found, right)
    for panel, text in ((left, "layers, or iterations"), (right, "milliseconds for 256 samples, one thread")):
        panel.set(xscale="log", ylim=(_FLOOR, 2), xlabel=text)
        panel.axhline(RECOVERED_DB, color="#777777", linewidth=0.8, zorder=0.5)
        panel.grid(axis="y", color="#eeeeee", linewidth=0.8)
        panel.set_axisbelow(True)
    left.annotate(
        "goal of the times", (0.99, RECOVERED_DB), (0, -3), xycoords=("axes fraction", "data"),
        textcoords="offset points", ha="right", va="top", fontsize=8, color="#777777",
    )  # fmt: skip
    left.set_ylabel("error, dB")
    _ticks(left, (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048))
    _ticks(right, (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000))
    handles, labels = right.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=8, handlelength=2.8
    )
    figure.savefig(path, dpi=150, metadata={"Software": None})
    plt.close(figure)


def _libraries(found: dict[str, Any], panel: Axes) -> None:
    """Points of libraries that solve a sample at a time."""
    for name, marker in MARKERS.items():
        rows = [row for row in found.get("times", []) if row["method"] == name]
        if rows:
            milliseconds = statistics.fmean(1000 * row["seconds"] for row in rows)
            decibels = statistics.fmean(row["ratio_db"] for row in rows)
            panel.plot(
                milliseconds, decibels, marker, color="#000000", markersize=5, label=f"{name}, to -40 dB"
            )


def _ticks(panel: Axes, numbers: tuple[int, ...]) -> None:
    low, high = panel.get_xlim()
    inside = [number for number in numbers if low <= number <= high]
    panel.set_xticks(inside, labels=[f"{number}" for number in inside], fontsize=8)
    panel.minorticks_off()


def draw(found: dict[str, Any], folder: Path) -> None:
    """Write all pictures."""
    errors(found, folder / "solve_errors.png")
