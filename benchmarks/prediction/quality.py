"""How good predictions in one pass are, beside those of many draws of the same network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prediction.trained import Trained
from szilard import metrics
from szilard.metrics import Predictive

DRAWS = 100
Row = dict[str, Any]
FIGURES = ("accuracy", "nll", "auroc_mutual_information")
COLUMNS = (
    "network", "images", "out of distribution",
    *(f"{name}, {way}" for name in ("accuracy %", "NLL", "AUROC") for way in ("draws", "other draws", "one pass")),
    "mutual information, one pass / draws",
)  # fmt: skip


def measured(trained: Trained, draws: int = DRAWS) -> Row:
    """Figures of ``draws`` draws, of as many others, and of one pass, on test images and out of distribution.

    The gap between two sets of draws shows how much of a gap is chance.
    """
    network, method, test = trained.network, trained.method, trained.test
    ways = {}
    for way, seed in (("draws", 0), ("other draws", 1)):
        ways[way] = [method.predict(network, x, samples=draws, seed=seed) for x in (test.x, trained.ood)]
    ways["one pass"] = [method.predict_one_pass(network, x) for x in (test.x, trained.ood)]
    row: Row = {"network": trained.case.name, "images": len(test), "ood": trained.case.ood, "draws": draws}
    for way, (inside, outside) in ways.items():
        row[way] = _figures(inside, test.y, outside)
    return row


def _figures(inside: Predictive, y: Any, outside: Predictive) -> dict[str, float]:
    found = metrics.evaluate(inside, y, ood=outside)
    return {name: found[name] for name in FIGURES} | {"mutual_information": float(inside.epistemic().mean())}


def gap(row: Row, figure: str, other: str = "one pass") -> float:
    """How far a figure is from that of the draws."""
    return abs(float(row[other][figure]) - float(row["draws"][figure]))


def body(rows: Sequence[Row]) -> list[list[str]]:
    """The table's cells, under COLUMNS."""
    lines = []
    for row in rows:
        cells = [row["network"], str(row["images"]), row["ood"]]
        for figure, factor, digits in zip(FIGURES, (100, 1, 1), (2, 4, 4), strict=True):
            cells += [
                f"{factor * row[way][figure]:.{digits}f}" for way in ("draws", "other draws", "one pass")
            ]
        ratio = row["one pass"]["mutual_information"] / max(row["draws"]["mutual_information"], 1e-12)
        lines.append([*cells, f"{ratio:.2f}"])
    return lines


def figures(rows: Sequence[Row]) -> dict[str, float]:
    """The largest gaps over all networks, and the largest between two sets of draws."""
    found = {}
    for key, figure, factor in (
        ("accuracy_gap_pt", "accuracy", 100.0),
        ("nll_gap", "nll", 1.0),
        ("auroc_gap", "auroc_mutual_information", 1.0),
    ):
        found[f"max_{key}"] = max(factor * gap(row, figure) for row in rows)
        found[f"max_{key}_of_draws"] = max(factor * gap(row, figure, "other draws") for row in rows)
    return found
