"""How far FISTA's objectives are above the least that the libraries find, for λ from large to small."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from solving import libraries, problems
from szilard.solve import FISTA, ContinuationFISTA

Row = dict[str, Any]
SHARES = (0.5, 0.2, 0.1, 0.05, 0.02)  # λ over the λ at which the answer is zero
_SAMPLES, _ITERATIONS, _TOLERANCE = 8, 4000, 1e-13
_GAP = 1e-8  # at which continuation stops


def objective(A: Tensor, b: Tensor, x: Tensor, penalty: float) -> Tensor:
    """½‖b - A x‖² + λ‖x‖₁ of each sample ``[B]``."""
    return (b - x @ A.t()).square().sum(1) / 2 + penalty * x.abs().sum(1)


def measured(seed: int) -> list[Row]:
    """A row for each λ, in float64 on the CPU; without celer and skglm scikit-learn is alone."""
    known = problems.problem(
        problems.gaussian(problems.M, problems.N, seed), _SAMPLES, seed, dtype=torch.float64
    )
    A, b = np.asfortranarray(known.A.numpy()), known.b.numpy()
    largest = float((known.b @ known.A).abs().amax(1).min())
    absent = libraries.missing()
    rows = []
    for share in SHARES:
        penalty = share * largest
        ours = {
            "FISTA": FISTA(known.A, penalty, _ITERATIONS),
            "continuation": ContinuationFISTA(known.A, penalty, _ITERATIONS, _GAP),
        }
        found = {name: objective(known.A, known.b, one(known.b).x, penalty) for name, one in ours.items()}
        theirs = {
            name: objective(
                known.A, known.b, torch.from_numpy(libraries.lasso(name, penalty, _TOLERANCE)(A, b)), penalty
            )
            for name in libraries.LASSOS
            if name not in absent
        }
        least = torch.stack(list(theirs.values())).amin(0)
        above = {name: float(((value - least) / least).max()) for name, value in {**found, **theirs}.items()}
        rows.append({
            "seed": seed, "share": share, "penalty": penalty, "iterations": _ITERATIONS,
            "gap": max(above[name] for name in ours), "above": above,
        })  # fmt: skip
    return rows
