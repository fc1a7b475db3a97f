"""Accuracy of the curvature: predicted and measured loss of rounding, for each layer and several steps.

One layer at a time is rounded to the nearest level, with doubling steps. The prediction is ½ Σ_r G_r e_r A e_rᵀ with
the errors e; the measurement is KL(original ‖ rounded) on images that were not used for the curvature. The curvature
uses the network's own predictions as labels, at softmax temperature 1; temperature 4, which compression uses, is
reported as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from files.ablation import Loss, canonical, measured
from files.pretrained import Case
from szilard.compression import Curvature, sequential_rounding
from szilard.compression.draft import STEPS

COLUMNS = ["step / standard deviation", "layers", "median measured / predicted", "least", "most"]
SHARES = (0.25, 0.5, 1.0, 1.5, 2.0)  # steps, as multiples of a weight's standard deviation


def measure(
    case: Case, loss: Loss, shares: tuple[float, ...], progress: Callable[[str], None]
) -> dict[str, Any]:
    """Points (layer, step, predicted, measured, predicted at temperature 4), and their statistics.

    These are the correlation of the logarithms of predicted and measured losses, and the median of their ratio.
    """
    draft = canonical(case)
    points = []
    soft = measured(draft.network, case.calibration, softness=4.0)
    for name, known in measured(draft.network, case.calibration, softness=1.0).items():
        tensor = draft.tensor(name)
        before = tensor.detach().clone()
        matrix = before.reshape(len(before), -1)
        for share in shares:
            step = round(STEPS * math.log2(share * matrix.std().item()))
            rounded = sequential_rounding.nearest(matrix, step).dense(before)
            with torch.no_grad():
                tensor.copy_(rounded)
            guesses = [predicted(c, rounded - before) for c in (known, soft[name])]
            points.append([name, share, guesses[0], loss(draft.network), guesses[1]])
        with torch.no_grad():
            tensor.copy_(before)
        progress(f"{name}: predicted {points[-1][2]:.2e}, measured {points[-1][3]:.2e}")
    x, y, z = np.log([p[2:] for p in points]).T
    return {
        "points": points,
        "r": float(np.corrcoef(x, y)[0, 1]),
        "median_ratio": float(np.exp(np.median(y - x))),
        "soft_r": float(np.corrcoef(z, y)[0, 1]),
        "soft_median_ratio": float(np.exp(np.median(y - z))),
    }


def predicted(known: Curvature, error: torch.Tensor) -> float:
    """½ Σ_r G_r e_r A e_rᵀ, in nats."""
    rows = error.reshape(len(error), -1).double()
    return 0.5 * float((known.outputs * ((rows @ known.inputs[0]) * rows).sum(1)).sum())


def body(found: dict[str, Any]) -> list[list[str]]:
    """Rows of the table, under COLUMNS."""
    rows = []
    for share in sorted({p[1] for p in found["points"]}):
        ratios = [p[3] / p[2] for p in found["points"] if p[1] == share]
        numbers = (np.median(ratios), min(ratios), max(ratios))
        rows.append([f"{share:g}", str(len(ratios)), *(f"{ratio:.2f}" for ratio in numbers)])
    return rows
