"""Rounding a matrix so that error + rate is least, each column making good the errors of those before it.

    minimise  ½ Σ_r G_r (w_r - s_r k_r) A (w_r - s_r k_r)ᵀ + λ R(k)     over integers k

greedily, column by column (Hassibi and Stork 1993; Frantar et al. 2022), with R the length in bits that the adaptive
coder would give k in its state (Conzelmann and Bamler 2025).
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from szilard import native
from szilard.coding import Model
from szilard.coding.adaptive import LARGEST
from szilard.compress.draft import STEPS, Quantised

# Of the bits that a cheaper level saves, the share that stays saved: columns that make good its error take bits, too.
# Measured, see benchmarks/model_file.py; any from 0.05 to 0.5 does nearly as well, and 1 takes 4 % more bytes.
LASTING = 0.4
BLOCK = 64  # columns between two matrix products
DAMPING = 0.01  # of A's mean diagonal


def quantise(
    weight: Tensor,
    inputs: Tensor,
    outputs: Tensor,
    lam: float,
    *,
    step: int | None = None,
    passes: int = 2,
    damping: float = DAMPING,
    lasting: float | None = None,
    roots: Sequence[Tensor] | None = None,
) -> Quantised:
    """Integers for a weight.

    Args:
        weight: ``[rows, cols]``.
        inputs: A, ``[groups, cols, cols]`` or its diagonal ``[groups, cols]``; the rows of a group share one.
        outputs: G, ``[rows]``.
        lam: λ, nats per bit.
        step: code of the step; by default the best for this λ and curvature, √(12 λ / (h ln 2)) with h the geometric
            mean of the curvatures that are left when later columns have made good what they can.
        passes: over the matrix; each begins with what the coder learnt in the one before.
        damping: added to A, in its mean diagonal.
        lasting: share of the bits that a cheaper level saves which counts; by default all where columns do not make
            good each other's errors, else :data:`LASTING`.
        roots: :func:`inverse_roots` of A, if they are known.
    """
    weight, outputs = weight.double(), outputs.double().clamp_min(1e-30)
    groups = len(inputs)
    size = len(weight) // groups
    roots = inverse_roots(inputs, damping) if roots is None else roots
    exact = torch.stack([1 / (r.diagonal() if r.dim() == 2 else r).square() for r in roots])  # [groups, cols]
    if step is None:
        curvature = exact.log().mean() + outputs.clamp_min(1e-3 * outputs.mean()).log().mean()
        step = round(STEPS * 0.5 * (math.log2(12 * lam / math.log(2)) - curvature.item() / math.log(2)))
    unit = 2.0 ** (step / STEPS)
    share = lasting or (LASTING if inputs.dim() == 3 else 1.0)
    levels = np.zeros(tuple(weight.shape), dtype=np.int32)
    rounder = _Rounder()
    for g in range(groups):
        rows = slice(g * size, (g + 1) * size)
        price = (outputs[rows, None] * exact[g] * (unit * unit / (2 * share * lam))).numpy()
        for number in range(passes):
            _sweep(rounder, weight[rows] / unit, roots[g], price, levels[rows], keep=number == passes - 1)
    return Quantised(levels, step)


def nearest(weight: Tensor, step: int) -> Quantised:
    """Every entry to the level that is nearest."""
    limit = float(LARGEST)
    levels = (weight.double() / 2.0 ** (step / STEPS)).round().clamp(-limit, limit)
    return Quantised(levels.to(torch.int32).numpy(), step)


def inverse_roots(inputs: Tensor, damping: float = DAMPING) -> list[Tensor]:
    """U of each group, upper triangular, with Uᵀ U = (A + damping)^-1; its diagonal alone where A is given by its
    diagonal.

    Args:
        inputs: A, ``[groups, cols, cols]`` or ``[groups, cols]``.
        damping: added to A, in its mean diagonal.
    """
    return [_inverse_root(a.double(), damping) for a in inputs]


def _inverse_root(a: Tensor, share: float) -> Tensor:
    """U, upper triangular, with Uᵀ U = (A + damping)^-1; its diagonal alone where A is given by its diagonal."""
    diagonal = a if a.dim() == 1 else a.diagonal()
    damping = share * diagonal.mean().item() or (0.0 if diagonal.all() else 1.0)
    if a.dim() == 1:
        return (a + damping).rsqrt()
    damped = a + damping * torch.eye(len(a), dtype=a.dtype)
    return torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(damped)), upper=True)


def _sweep(
    rounder: _Rounder, scaled: Tensor, root: Tensor, price: np.ndarray, levels: np.ndarray, keep: bool
) -> None:
    """All columns once; ``scaled`` is used up."""
    rounder.begin(*scaled.shape)
    cols = scaled.shape[1]
    for first in range(0, cols, BLOCK):
        end = min(first + BLOCK, cols)
        feedback = root[first:end, first:end] if root.dim() == 2 else root[first:end].diag()
        errors = rounder.columns(scaled[:, first:end], feedback, price, levels, first)
        if root.dim() == 2 and end < cols:
            scaled[:, end:] -= errors @ root[first:end, end:]


class _Rounder:
    """Columns to integers, with the state of the coder's model; by C++ where it is built."""

    def __init__(self) -> None:
        self._native = native.available()
        size = native.library().szilard_contexts() if self._native else 0
        self._contexts = np.full(size, 1 << 15, dtype=np.uint32)
        self._means = np.zeros(0, dtype=np.int32)

    def begin(self, rows: int, cols: int) -> None:
        self._means = np.full(cols + rows, 256, dtype=np.int32)

    def columns(
        self, weights: Tensor, feedback: Tensor, price: np.ndarray, levels: np.ndarray, first: int
    ) -> Tensor:
        """Fill ``levels[:, first:]`` of these columns; returns their errors over U's diagonal, ``[rows, count]``."""
        if not self._native:
            return _columns(weights, feedback, price, levels, first)
        rows, count = weights.shape
        errors = np.ascontiguousarray(weights.numpy())
        if errors is weights.numpy() or np.shares_memory(errors, weights.numpy()):
            errors = errors.copy()
        upper = np.ascontiguousarray(feedback.numpy())
        price = np.ascontiguousarray(price)
        bits = ctypes.c_double()
        status = native.library().szilard_quantise(
            self._contexts.ctypes.data, self._contexts.size, Model.HISTORY, rows, levels.shape[1], first, count,
            errors.ctypes.data, errors.size, upper.ctypes.data, price.ctypes.data, ctypes.byref(bits),
            self._means.ctypes.data, self._means.size, levels.ctypes.data, levels.size,
        )  # fmt: skip
        native.check(status, "quantise")
        return torch.from_numpy(errors)


def _columns(weights: Tensor, feedback: Tensor, price: np.ndarray, levels: np.ndarray, first: int) -> Tensor:
    """The same with a fixed rate, log2(1 + |k|) steps of a bit and a half, where there is no coder to ask."""
    errors = weights.clone()
    for j in range(weights.shape[1]):
        w = errors[:, j]
        nearest_level = w.round().clamp(-LARGEST, LARGEST)
        inward = nearest_level - nearest_level.sign()
        cost = torch.from_numpy(price[:, first + j])
        candidates = torch.stack([nearest_level, inward, torch.zeros_like(w)])
        costs = cost * (w - candidates).square() + 3.0 * torch.log2(1 + candidates.abs())
        k = candidates.gather(0, costs.argmin(0)[None])[0]
        levels[:, first + j] = k.numpy().astype(np.int32)
        error = (w - k) / feedback[j, j]
        errors[:, j + 1 :] -= error[:, None] * feedback[j, j + 1 :]
        errors[:, j] = error
    return errors
