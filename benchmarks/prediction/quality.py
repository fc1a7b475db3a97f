"""How good predictions in one pass are, beside those of many draws of the same network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from prediction.trained import Trained
from szilard import metrics
from szilard.bayes import evaluating
from szilard.bayes.moments import fit_factors, propagate
from szilard.bayes.moments.value import Moments
from szilard.deploy import compare_with_draws
from szilard.methods import one_pass
from szilard.metrics import Predictive

DRAWS = 100
Row = dict[str, Any]
FIGURES = ("accuracy", "nll", "auroc_mutual_information")
WAYS = ("draws", "other draws", "one pass", "factors", "matched")
_SUFFIXES = {"one pass": "", "factors": "_with_factors", "matched": "_matched", "other draws": "_of_draws"}
AT_ONCE = 250  # images of a forward pass with factors
COLUMNS = (
    "network", "images", "prediction", "accuracy %", "NLL", "AUROC", "out of distribution",
    "mutual information / that of draws",
)  # fmt: skip
NAMES = {
    "other draws": f"{DRAWS} other draws",
    "one pass": "one pass",
    "factors": "one pass with factors",
    "matched": "one pass, matched to draws",
}


def measured(trained: Trained, draws: int = DRAWS, again: bool = True) -> Row:
    """Figures of draws and of one pass, on test images and out of distribution.

    Args:
        trained: the network and its images.
        draws: number of draws.
        again: measure as many other draws, too: the gap between two sets of draws shows how much of a gap is chance.
    """
    network, method, test = trained.network, trained.method, trained.test
    inputs = (test.x, trained.ood)
    factors = fit_factors(network, trained.calibration, draws=draws // 2)
    factor = compare_with_draws(
        network, trained.validation, task=method.likelihood, calibration=method.calibration, draws=draws // 2
    ).factor
    ways = {"draws": [method.predict(network, x, samples=draws, seed=0) for x in inputs]}
    if again:
        ways["other draws"] = [method.predict(network, x, samples=draws, seed=1) for x in inputs]
    ways["one pass"] = [method.predict_one_pass(network, x) for x in inputs]
    ways["factors"] = [_with_factors(trained, x, factors) for x in inputs]
    ways["matched"] = [method.predict_one_pass(network, x, variance_factor=factor) for x in inputs]
    row: Row = {
        "network": trained.case.name,
        "images": len(test),
        "ood": trained.case.ood,
        "draws_count": draws,
        "variance_factor": factor,
    }
    for way, (inside, outside) in ways.items():
        row[way] = _figures(inside, test.y, outside)
    return row


def _with_factors(trained: Trained, x: Tensor, factors: Mapping[str, float]) -> Predictive:
    """One pass with a factor for the variance of each layer's output."""
    with evaluating(trained.network):
        parts = [propagate(trained.network, part, factors=factors) for part in x.split(AT_ONCE)]
    # One set of moments: no categories that training has not seen.
    found = Moments(*(torch.cat(list(one)).unsqueeze(0) for one in zip(*parts, strict=True)))
    method = trained.method
    return one_pass.predictive(method.likelihood, found, method.calibration, False)


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
        for way in WAYS:
            if way not in row:
                continue
            found, drawn = row[way], row["draws"]
            name = NAMES.get(way, f"{row['draws_count']} draws")
            ratio = found["mutual_information"] / max(drawn["mutual_information"], 1e-12)
            figures = [f"{100 * found['accuracy']:.2f}", f"{found['nll']:.4f}"]
            figures.append(f"{found['auroc_mutual_information']:.4f}")
            lines.append([row["network"], str(row["images"]), name, *figures, row["ood"], f"{ratio:.2f}"])
    return lines


def figures(rows: Sequence[Row]) -> dict[str, float]:
    """The largest gaps over all networks, of each way to predict."""
    found = {}
    for key, figure, factor in (
        ("accuracy_gap_pt", "accuracy", 100.0),
        ("nll_gap", "nll", 1.0),
        ("auroc_gap", "auroc_mutual_information", 1.0),
    ):
        for way, suffix in _SUFFIXES.items():
            gaps = [factor * gap(row, figure, way) for row in rows if way in row]
            if gaps:
                found[f"max_{key}{suffix}"] = max(gaps)
    figure = "auroc_mutual_information"  # a gap is also one pass that ranks better than draws; a loss is not
    found["max_auroc_loss"] = max(row["draws"][figure] - row["one pass"][figure] for row in rows)
    return found
