"""Rounding with a step for each row.

By high-rate theory the best step of a weight of curvature h is √(12 λ / (h ln 2)). A matrix has one step, but its rows
may have a factor each in the file, and their curvatures G_r differ: by orders of magnitude between the gates and units
of a recurrent cell, or between frequent and rare words. With

    f_r = √(Ḡ / G_r),    Ḡ the geometric mean,

the rows of W / f have equal curvature, and the step of the matrix is right for all of them. At equal error that saves
½ log2(mean G / Ḡ) bits a weight at high rates, and costs some eight bits a row, so that it is done only where it pays.
Factors are powers of 2^(1/8). Layers that are measured at their inputs have one step: ResNet-20 got no smaller by more.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from szilard.compress import obs
from szilard.compress.draft import ROWS, Quantised
from szilard.compress.hooked import Curvature

LEAST = 1e-3  # of the mean curvature: rows that hardly count are not given wider steps than those
GAIN = (
    0.2  # bits a weight, below which low rates make nothing of it; in the digits' MLP, 0.13 brought nothing
)
DEAD = 0.03  # of the mean curvature: rows below it are zero at low rates, whatever their step is
PRICE = 12.0  # bits that a row's factor must save


def quantise(matrix: Tensor, curvature: Curvature, lam: float) -> Quantised:
    """Integers for a weight.

    Args:
        matrix: ``[rows, cols]``.
        curvature: of it.
        lam: λ, nats per bit.
    """
    codes = factors(curvature.outputs, matrix.shape[1]) if curvature.by_row else None
    if codes is None:
        return obs.quantise(matrix, curvature.inputs, curvature.outputs, lam)
    f = 2.0 ** (torch.from_numpy(codes).double() / ROWS)
    outputs = curvature.outputs.double() * f.square()
    found = obs.quantise(matrix.double() / f[:, None], curvature.inputs, outputs, lam)
    return Quantised(found.levels, found.step, codes)


def factors(outputs: Tensor, cols: int) -> np.ndarray | None:
    """Codes of f, int8 ``[rows]``; None where they would not pay.

    Args:
        outputs: G, ``[rows]``.
        cols: weights in a row.
    """
    g = outputs.double()
    if len(g) < 2 or not float(g.mean()) > 0:
        return None
    mean = float(g.mean())
    logs = g.clamp_min(LEAST * mean).log2()
    gain = 0.5 * float(g.mean().log2() - g.clamp_min(DEAD * mean).log2().mean())
    if gain < GAIN or gain * cols < PRICE:
        return None
    return ((logs.mean() - logs) * (ROWS / 2)).round().clamp(-127, 127).to(torch.int8).numpy()
