"""Total variation: the picture of least gradients among those that fit all blocks' measurements, by pylops.

A block has the measurements Φ of its pixels without their mean, and the mean, weighted so that it counts like the
pixels that it stands for; the gradient runs over the whole picture, across blocks. Split Bregman iterations (Goldstein
and Osher 2009) with anisotropic total variation.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sensing.measuring import Cell
from sensing.photographs import PIXELS, Photograph, joined
from sensing.quality import psnr

PIP = "pip install 'pylops>=2.8,<2.9'"
WEIGHTS = (0.05, 0.1, 0.2, 0.4)  # pylops' ε of the gradients, tried on training pictures; its μ is 1
OUTER, INNER = 60, 5  # Bregman iterations, and least-squares iterations of each


@dataclass(frozen=True)
class Problem:
    """A picture's measurements.

    Attributes:
        cell: with the matrix.
        b: measurements of its patches ``[count, m]``.
        means: of its patches ``[count, 1]``.
        shape: of the picture.
    """

    cell: Cell
    b: Tensor
    means: Tensor
    shape: tuple[int, int]


def installed() -> bool:
    try:
        importlib.import_module("pylops")
    except ImportError:
        return False
    return True


def _operator(problem: Problem) -> Any:
    """The measurements of all blocks, as a linear operator of pixels of the picture."""
    pylops = importlib.import_module("pylops")

    phi = problem.cell.matrix.double()
    rows = torch.cat((phi - phi.mean(1, keepdim=True), torch.full((1, PIXELS), PIXELS**-0.5).double()))
    matrix = rows.numpy()
    height, width = problem.shape
    blocks, m = len(problem.b), len(matrix)

    class Blocks(pylops.LinearOperator):  # type: ignore[name-defined]
        def _matvec(self, x: np.ndarray) -> np.ndarray:
            picture = Photograph("", torch.from_numpy(x.reshape(height, width)))
            return (picture.patches.numpy() @ matrix.T).ravel()

        def _rmatvec(self, y: np.ndarray) -> np.ndarray:
            patches = torch.from_numpy(y.reshape(blocks, m) @ matrix)
            return joined(patches, problem.shape).numpy().ravel()

    return Blocks(dtype=np.float64, shape=(blocks * m, height * width))


def reconstructed(problem: Problem, weight: float, outer: int = OUTER) -> Tensor:
    """The picture ``[height, width]``; starts with the blocks' means."""
    pylops = importlib.import_module("pylops")

    measured = torch.cat((problem.b, problem.means * PIXELS**0.5), 1).double().numpy().ravel()
    gradients = [
        pylops.FirstDerivative(problem.shape, axis=axis, kind="forward", edge=False, dtype=np.float64)
        for axis in (0, 1)
    ]
    start = joined(problem.means.expand(-1, PIXELS).double(), problem.shape).numpy().ravel()
    found = pylops.optimization.sparsity.splitbregman(
        _operator(problem), measured, gradients, x0=start, niter_outer=outer, niter_inner=1, mu=1.0,
        epsRL1s=[weight] * 2, tol=1e-5, tau=1.0, iter_lim=INNER, show=False,
    )[0]  # fmt: skip
    return torch.from_numpy(np.asarray(found).reshape(problem.shape)).float()


def best_weight(problems: Sequence[Problem], truths: Sequence[Tensor]) -> tuple[float, dict[str, float]]:
    """The weight of the best mean PSNR on training pictures, and the PSNR of each."""
    scores = {
        weight: float(np.mean([
            psnr(reconstructed(problem, weight), truth)
            for problem, truth in zip(problems, truths, strict=True)
        ]))
        for weight in WEIGHTS
    }  # fmt: skip
    best = max(scores, key=scores.__getitem__)
    return best, {f"{weight:g}": score for weight, score in scores.items()}
