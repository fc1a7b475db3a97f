"""Files of sparse Bayesian networks from ``szilard fit``: quality of the uncertainty before and after compression.

For each finished network of a run folder: bytes of the file, and accuracy, NLL, ECE and the AUROC of detecting
out-of-distribution inputs, with the same weight samples, before and after compression at the default λ.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import szilard
from szilard import bayes, data
from szilard.model import saved_network
from szilard.model.evaluate import judge

COLUMNS = ["", "bytes before", "bytes", "accuracy %", "NLL", "ECE", "OOD AUROC"]
KEYS = ("accuracy", "nll", "ece", "auroc_best")


def rows(run: Path, data_root: Path | None, samples: int = 32) -> list[dict[str, Any]]:
    """One row for each Bayesian network in a run folder.

    Args:
        data_root: folder of the run's data, if it has moved.
    """
    found = []
    for path in sorted(run.glob("**/network.pt")):
        network = saved_network.load(path)
        if bayes.weights(network.network):
            name = f"{network.data.get('name', run.name)}, {path.parent.name}"
            figures = row(network, data_root, samples)
            found.append({"name": name, "before_bytes": path.stat().st_size, **figures})
    return found


def row(trained: saved_network.SavedNetwork, data_root: Path | None, samples: int) -> dict[str, Any]:
    """Bytes, and quality before and after compression."""
    where = trained.data | ({"root": data_root} if data_root else {})
    known = data.load(**where)
    after = copy.deepcopy(trained.network)
    made = szilard.compress(trained.network, calibration=known.train.x[:512])
    after.load_state_dict(made.network.state_dict(), strict=True)
    quality = []
    for network in (trained.network, after):
        measured, _, _ = judge(trained.method, network, known, known.test, samples=samples, seed=0)
        quality.append({key: measured[key] for key in KEYS if key in measured})
    return {"bytes": len(made.data), "before": quality[0], "after": quality[1]}


def body(found: list[dict[str, Any]]) -> list[list[str]]:
    """Rows of the table, under COLUMNS: before → after."""

    def change(one: dict[str, Any], key: str, factor: float = 1.0, digits: int = 4) -> str:
        before, after = one["before"].get(key), one["after"].get(key)
        return "" if before is None else f"{factor * before:.{digits}f} → {factor * after:.{digits}f}"

    return [
        [
            one["name"],
            f"{one['before_bytes']:,}",
            f"{one['bytes']:,}",
            change(one, "accuracy", 100, 2),
            change(one, "nll"),
            change(one, "ece"),
            change(one, "auroc_best"),
        ]
        for one in found
    ]
