"""Rounding a matrix for the smallest error + rate: each column compensates the errors of the columns before it.

    minimise  ½ Σ_r G_r (w_r - s_r k_r) A (w_r - s_r k_r)ᵀ + λ R(k)     over integers k

greedily, column by column (Hassibi and Stork 1993; Frantar et al. 2022), with R the bits that the adaptive coder needs
for k in its present state (Conzelmann and Bamler 2025).
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from szilard.coding import Model
from szilard.coding.adaptive import LARGEST
from szilard.compression.draft import STEPS, Quantised
from szilard.kernels import native

# The share of the bits saved by a cheaper level that counts, because the columns that compensate its error cost bits.
# Measured, see benchmarks/model_file.py; values from 0.05 to 0.5 are nearly as good, and 1 takes 4 % more bytes.
LASTING = 0.4
BLOCK = 64  # columns between two matrix products
DAMPING = 0.01  # of A's mean diagonal
MANY = 1 << 19  # entries of independent columns that are rounded at a time
AT_ONCE = 1 << 22  # entries of a matrix that are rounded together
SOME = 2048  # rows whose later columns are updated at a time
LEFT = 2  # columns to the left that the coder's model reads


class Matrix(Protocol):
    """A matrix ``[rows, cols]`` that returns some rows at a time, as a tensor does."""

    @property
    def shape(self) -> torch.Size: ...
    def __len__(self) -> int: ...
    def __getitem__(self, part: slice, /) -> Tensor: ...


def quantise(
    weight: Matrix,
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
            mean of the curvatures after later columns compensate errors.
        passes: number of passes over the matrix; each starts with the coder's state of the one before.
        damping: added to A's diagonal, as a share of its mean.
        lasting: share of the bits saved by a cheaper level that counts; by default 1 if columns do not compensate
            each other's errors, else :data:`LASTING`.
        roots: :func:`inverse_roots` of A, if they are known.

    Returns:
        Levels in the smallest type that holds them.
    """
    outputs = outputs.double().clamp_min(1e-30)
    groups = len(inputs)
    size = len(weight) // groups
    found = inverse_roots(inputs, damping) if roots is None else roots
    exact = torch.stack([1 / (r.diagonal() if r.dim() == 2 else r).square() for r in found])  # [groups, cols]
    if step is None:
        curvature = exact.log().mean() + outputs.clamp_min(1e-3 * outputs.mean()).log().mean()
        step = round(STEPS * 0.5 * (math.log2(12 * lam / math.log(2)) - curvature.item() / math.log(2)))
        step = max(step, finest(weight))
    unit = 2.0 ** (step / STEPS)
    share = lasting or (LASTING if inputs.dim() == 3 else 1.0)
    levels = np.zeros(tuple(weight.shape), dtype=np.int8)
    rounder = _Rounder()
    some = max(1, AT_ONCE // max(1, weight.shape[1]))
    for g in range(groups):
        parts = range(g * size, (g + 1) * size, some)  # parts share only the coder's model
        for number, start in product(range(passes), parts):
            rows = slice(start, min(start + some, (g + 1) * size))
            sweep = _Sweep(weight[rows], unit, found[g], outputs[rows], exact[g], 2 * share * lam)
            for first, block in sweep.run(rounder):
                if number == passes - 1:
                    levels = _put(levels, rows, first, block)
            del sweep  # free its memory before the next one makes its copy
    return Quantised(levels, step)


def finest(weight: Matrix) -> int:
    """Code of the finest step at which levels stay within the limit of a file, with a margin for compensated errors.

    Args:
        weight: ``[rows, cols]``, or a vector.
    """
    largest = 0.0
    some = max(1, MANY // max(1, math.prod(weight.shape[1:])))
    for start in range(0, len(weight), some):
        part = weight[start : start + some].detach()
        if part.numel():
            largest = max(largest, float(part.abs().amax()), key=_size)
    if not (largest > 0 and math.isfinite(largest)):
        return -(1 << 14)
    return math.ceil(STEPS * math.log2(largest / (LARGEST >> 3)))


def _size(value: float) -> float:
    """Sort key in which NaN is the largest value, so that it is noticed."""
    return math.inf if math.isnan(value) else value


def _put(levels: np.ndarray, rows: slice, first: int, block: np.ndarray) -> np.ndarray:
    """Levels with some columns filled, in a wider type if needed."""
    most = max(-int(block.min()), int(block.max())) if block.size else 0
    if most > np.iinfo(levels.dtype).max:
        levels = levels.astype(np.int16 if most <= np.iinfo(np.int16).max else np.int32)
    levels[rows, first : first + block.shape[1]] = block
    return levels


def nearest(weight: Tensor, step: int) -> Quantised:
    """Round every entry to the nearest level."""
    limit = float(LARGEST)
    levels = (weight.double() / 2.0 ** (step / STEPS)).round().clamp(-limit, limit)
    return Quantised(levels.to(torch.int32).numpy(), step)


def inverse_roots(inputs: Tensor, damping: float = DAMPING) -> list[Tensor]:
    """U of each group, upper triangular, with Uᵀ U = (A + damping)^-1; only its diagonal if A is given by its diagonal.

    Args:
        inputs: A, ``[groups, cols, cols]`` or ``[groups, cols]``.
        damping: added to A's diagonal, as a share of its mean.
    """
    return [_inverse_root(a.double(), damping) for a in inputs]


def _inverse_root(a: Tensor, share: float) -> Tensor:
    diagonal = a if a.dim() == 1 else a.diagonal()
    damping = share * diagonal.mean().item() or (0.0 if diagonal.all() else 1.0)
    if a.dim() == 1:
        return (a + damping).rsqrt()
    damped = a.clone()
    damped.diagonal().add_(damping)
    damped = torch.linalg.cholesky(damped)
    damped = torch.cholesky_inverse(damped)
    return torch.linalg.cholesky(damped, upper=True)


class _Sweep:
    """One pass over all columns of a matrix, some at a time.

    In addition to the weight, it needs memory for a few columns if they are independent; else for the whole matrix in
    float64, because later columns compensate the errors of earlier ones.
    """

    def __init__(
        self, weight: Tensor, unit: float, root: Tensor, outputs: Tensor, exact: Tensor, price: float
    ) -> None:
        self.unit, self.root = unit, root
        self.outputs, self.exact, self.price = outputs, exact, price
        self.scaled = weight.to(torch.float64, copy=True).div_(unit) if root.dim() == 2 else None
        self.weight = weight if self.scaled is None else self.scaled

    def run(self, rounder: _Rounder) -> Iterator[tuple[int, np.ndarray]]:
        """First column and int32 levels ``[rows, count]`` of each block."""
        rows, cols = self.weight.shape
        rounder.begin(rows)
        some = BLOCK if self.scaled is not None else max(1, min(BLOCK, MANY // max(1, rows)))
        for first in range(0, cols, some):
            end = min(first + some, cols)
            if self.scaled is None:
                weights, feedback = (
                    self.weight[:, first:end].double() / self.unit,
                    self.root[first:end].diag(),
                )
            else:
                weights, feedback = self.scaled[:, first:end], self.root[first:end, first:end]
            factor = self.unit * self.unit / self.price
            price = self.outputs[:, None] * self.exact[first:end] * factor
            errors, levels = rounder.columns(weights, feedback, price)
            if self.scaled is not None and end < cols:
                for rest, part in zip(self.scaled.split(SOME), errors.split(SOME), strict=True):
                    rest[:, end:] -= part @ self.root[first:end, end:]
            yield first, levels


class _Rounder:
    """Rounds columns to integers, with the state of the coder's model; in C++ if it is built.

    Of the matrix, a call reads only its own columns and the two to their left, which the model needs.
    """

    def __init__(self) -> None:
        self._native = native.available()
        size = native.library().szilard_contexts() if self._native else 0
        self._contexts = np.full(size, 1 << 15, dtype=np.uint32)
        self.begin(0)

    def begin(self, rows: int) -> None:
        """Start at the left end of a matrix; the contexts keep their statistics."""
        self._left = np.zeros((rows, LEFT), dtype=np.int32)
        self._means = np.full(rows, 256, dtype=np.int32)

    def columns(self, weights: Tensor, feedback: Tensor, price: Tensor) -> tuple[Tensor, np.ndarray]:
        """The next columns ``[rows, count]``: their errors over U's diagonal, and their levels, int32."""
        rows, count = weights.shape
        levels = np.zeros((rows, LEFT + count), dtype=np.int32)
        if not self._native:
            errors = _columns(weights, feedback, price, levels)
            return errors, levels[:, LEFT:]
        levels[:, :LEFT] = self._left
        made = weights.numpy().copy(order="C")
        upper = np.ascontiguousarray(feedback.numpy())
        prices = np.zeros((rows, LEFT + count))
        prices[:, LEFT:] = price.numpy()
        means = np.full(LEFT + count + rows, 256, dtype=np.int32)
        means[LEFT + count :] = self._means
        bits = ctypes.c_double()
        status = native.library().szilard_quantise(
            self._contexts.ctypes.data, self._contexts.size, Model.HISTORY, rows, levels.shape[1], LEFT, count,
            made.ctypes.data, made.size, upper.ctypes.data, prices.ctypes.data, ctypes.byref(bits),
            means.ctypes.data, means.size, levels.ctypes.data, levels.size,
        )  # fmt: skip
        native.check(status, "quantise")
        self._means, self._left = means[LEFT + count :], levels[:, -LEFT:].copy()
        return torch.from_numpy(made), levels[:, LEFT:]


def _columns(weights: Tensor, feedback: Tensor, price: Tensor, levels: np.ndarray) -> Tensor:
    """The same with a fixed rate of 3 log2(1 + |k|) bits, if the coder is not built."""
    errors = weights.clone()
    for j in range(weights.shape[1]):
        w = errors[:, j]
        nearest_level = w.round().clamp(-LARGEST, LARGEST)
        inward = nearest_level - nearest_level.sign()
        candidates = torch.stack([nearest_level, inward, torch.zeros_like(w)])
        costs = price[:, j] * (w - candidates).square() + 3.0 * torch.log2(1 + candidates.abs())
        k = candidates.gather(0, costs.argmin(0)[None])[0]
        levels[:, LEFT + j] = k.numpy().astype(np.int32)
        error = (w - k) / feedback[j, j]
        errors[:, j + 1 :] -= error[:, None] * feedback[j, j + 1 :]
        errors[:, j] = error
    return errors
