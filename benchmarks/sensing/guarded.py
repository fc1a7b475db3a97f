"""HyperLISTA with its guard, on patches: which samples were certified, and a check of the certificates.

HyperLISTA's prior are codes with few entries that reproduce the measurements. Patches have many small ones. The guard
accepts a sample where a small support explains the measurements up to the noise, and solves the others by FISTA with
the λ that is FISTA's best.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from sensing.measuring import Cell
from szilard.errors import SzilardWarning
from szilard.solve import Answer, Guard, HyperLISTA, lasso_gap
from szilard.solve.answer import LASSO, SUPPORT

LAYERS = 16
GREY = 1 / 255  #: of a measurement without noise: pixels are bytes, and no dictionary has every patch.
GAP = 1e-2  # relative duality gap of samples that fall back
EVALUATIONS = 60  # of the search for the three numbers
LEAST, MOST = 0.01, 0.2  # densities for that search
ITERATIONS = 10_000


def tuned(A: Tensor, cell: Cell, density: float, snr: float) -> HyperLISTA:
    """HyperLISTA with numbers for synthetic codes of a density, and a signal-to-noise ratio in dB."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SzilardWarning)  # columns are scaled to unit norm
        solver = HyperLISTA(A, LAYERS)
    return solver.tune(min(max(density, LEAST), MOST), snr, seed=cell.seed, evaluations=EVALUATIONS)


def bound(cell: Cell) -> float:
    """The largest residual of a sample that counts as noise, by the guard's rule."""
    return (cell.noise or GREY) * (cell.count**0.5 + 2)


def guard(solver: HyperLISTA, cell: Cell, penalty: float) -> Guard:
    return Guard(solver, cell.noise or GREY, penalty, gap=GAP, iterations=ITERATIONS)


def answer(one: Guard, b: Tensor) -> Answer:
    """The guard's answer; what it warns of is counted by :func:`counted`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SzilardWarning)
        return one(b)


def counted(found: Answer, A: Tensor, b: Tensor, cell: Cell, penalty: float) -> dict[str, Any]:
    """Samples, those that fell back, and those that are returned without a certificate that holds.

    Certificates are checked anew in float64: ‖b - A x‖ of a support against the bound, and the rank of its columns; the
    duality gap of a minimum.
    """
    wide, measured, x = A.double(), b.double(), found.x.double()
    kinds = found.certificate
    small = (measured - x @ wide.t()).norm(dim=1) <= 1.001 * bound(cell)
    gap = lasso_gap(wide, x, measured, penalty)
    wrong = 0
    for row, kind in enumerate(kinds):
        if kind == SUPPORT:
            columns = wide[:, x[row] != 0]
            independent = columns.shape[1] <= len(columns) and (
                not columns.shape[1] or int(torch.linalg.matrix_rank(columns)) == columns.shape[1]
            )
            wrong += not (bool(small[row]) and independent)
        else:
            wrong += not (kind == LASSO and float(gap[row]) <= 2 * GAP)
    return {"samples": len(kinds), "fell": found.counts["fallback"], "uncertified": wrong}
