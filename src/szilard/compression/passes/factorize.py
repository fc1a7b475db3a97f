"""Weights as products: sparse coefficients that are powers of two, times a small dense basis.

W ≈ C B after Zhao et al. (2020, SmartExchange): the rows of a weight are cut into pieces of S entries, the width of a
kernel. Each output has its own basis of S x S, or all share one. Fitting alternates: with B fixed, every coefficient is
set to the power of two, or zero, with the smallest error under the curvature plus λ · bits; with C fixed, B is a
least-squares problem. The product is then compared with plain integers, with the same curvature and the same coder, and
a weight is factorised only if that makes F smaller.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from szilard.coding import LARGEST, Encoder, Model
from szilard.compression import scaled, sequential_rounding
from szilard.compression.curvature import Curvature
from szilard.compression.draft import STEPS, Draft, Setting, multiplied
from szilard.compression.layers import tensors
from szilard.compression.passes.rounding import Quantise
from szilard.file import Product
from szilard.file.kinds.product import DEPTH, MOST_PIECE

OVERHEAD = 400.0  # bits of names and fields
SHOWN = 400  # pieces of a group from which the first basis is found
WIDTH = 4  # of a piece, if the weight has no kernel dimension


class Factorize:
    """Replace weights by products if that makes F smaller.

    Before :class:`Quantise` products are compared with the integers that it would make, after it with those that it
    made. The error of both is relative to the weight before rounding. If the integers were trained after rounding, they
    are the weight themselves, and any change by a product counts as an error.

    Args:
        quantise: the :class:`~szilard.compression.Quantise` of the same list of passes, which has the curvatures; by
            default this pass measures them.
        rounds: number of alternations.
    """

    name = "factorize"
    summary = "Factors weights: sparse powers of two times a small basis"
    source = "SmartExchange, Zhao et al. 2020, arXiv:2005.03403"
    order = 2
    looks_back = True

    def __init__(self, quantise: Quantise | None = None, *, rounds: int = 6) -> None:
        self.quantise, self.rounds = quantise or Quantise(), rounds

    def __call__(self, draft: Draft, setting: Setting) -> None:
        ties = _tied(draft)
        for name, module, weight in tensors(draft):
            if weight.dim() < 2 or name in ties or name in draft.products:
                continue
            target = draft.targets.get(name, weight).cpu()
            curvature = self.quantise.curvature_of(name, module, draft, setting)
            found = factorize(name, target, curvature, setting.lam, rounds=self.rounds)
            if found is None:
                continue
            matrix = target.double().reshape(len(target), -1)
            plain = draft.quantised.get(name)
            if plain is None:
                roots = sequential_rounding.inverse_roots(curvature.inputs)
                scaling = scaled.best_scaling(matrix, curvature, setting.lam, roots)
                plain = scaled.quantise(matrix, curvature, setting.lam, roots, scaling)
            kept = free_energy(
                matrix - plain.dense(target).double().reshape(matrix.shape),
                curvature,
                setting.lam,
                Encoder().rate(plain.levels, Model.HISTORY),
            )
            value = multiplied(found, target).double().reshape(matrix.shape)
            if free_energy(matrix - value, curvature, setting.lam, bits(found)) < kept:
                draft.multiply(found)


def factorize(
    name: str, weight: Tensor, curvature: Curvature, lam: float, *, rounds: int = 6
) -> Product | None:
    """The better of two products, with a basis for each output and with one for all; None if neither is possible.

    Args:
        weight: ``[rows, ...]``; the last dimension of a kernel, or else 4, must divide its columns.
        curvature: of the layer.
        lam: λ, nats per bit.
    """
    rows = len(weight)
    size = weight.shape[-1] if weight.dim() > 2 and 1 < weight.shape[-1] <= MOST_PIECE else WIDTH
    matrix = weight.double().reshape(rows, -1)
    if matrix.shape[1] % size or size > matrix.shape[1] or not bool(matrix.any()):
        return None
    found = []
    for groups, start in itertools.product(sorted({1, rows}), (_axes, _lines)):
        pieces = matrix.reshape(groups, -1, size)
        fit = _Fit(pieces, start(pieces), curvature, lam)
        for _ in range(rounds):
            fit.coefficients()
            fit.basis()
        product = fit.finish(name, weight)
        if product is None:
            continue
        value = multiplied(product, weight).double().reshape(matrix.shape)
        found.append((free_energy(matrix - value, curvature, lam, bits(product)), product))
    return min(found, key=lambda one: one[0])[1] if found else None


def free_energy(error: Tensor, curvature: Curvature, lam: float, size: float) -> float:
    """½ Σ_r G_r e_r A e_rᵀ + λ · bits for an error ``[rows, cols]``."""
    parts = error.double().reshape(len(curvature.inputs), -1, error.shape[1])
    a = curvature.inputs
    squares = parts.square() * a[:, None] if a.dim() == 2 else parts * (parts @ a)
    return 0.5 * float((curvature.outputs * squares.sum(2).flatten()).sum()) + lam * size


def bits(product: Product) -> float:
    """Bits of a product: its factors under the adaptive coder, and the overhead of the file."""
    encoder = Encoder()
    codes = encoder.levels(product.codes, Model.HISTORY)
    return OVERHEAD + codes + encoder.rate(product.basis.reshape(len(product.basis), -1), Model.HISTORY)


class _Fit:
    """Alternating minimisation.

    Attributes:
        c: coefficients ``[groups, pieces, S]``, in units of ``unit``.
        b: bases ``[groups, S, S]``.
    """

    def __init__(self, pieces: Tensor, start: Tensor, curvature: Curvature, lam: float) -> None:
        self.pieces, self.lam = pieces, lam
        groups, count, size = pieces.shape
        self.h = _block(curvature.inputs, size)
        rows = len(curvature.outputs)
        weights = curvature.outputs.clamp_min(1e-30).repeat_interleave(groups * count // rows)
        self.weights = weights.reshape(groups, count)
        self.b = start
        self.c = pieces @ torch.linalg.pinv(start)
        self.rescale()
        self.rates = torch.log2(2.0 + torch.arange(DEPTH + 1, dtype=torch.float64)) * 2

    def rescale(self) -> None:
        """Scale each direction so that its largest coefficient is 1."""
        largest = self.c.abs().amax(1).clamp_min(1e-30)  # [groups, S]
        self.c, self.b = self.c / largest[:, None], self.b * largest[:, :, None]

    def coefficients(self) -> None:
        """Coordinate descent over the directions."""
        hb = self.h @ self.b.transpose(1, 2)  # [groups, S, S]: columns H b_s
        norms = (self.b.transpose(1, 2) * hb).sum(1).clamp_min(1e-30)  # b_s H b_s
        rest = self.pieces - _powers(_codes(self.c)) @ self.b
        c = _powers(_codes(self.c))
        for s in range(c.shape[2]):
            best = c[:, :, s] + (rest @ hb[:, :, s, None])[:, :, 0] / norms[:, None, s]
            price = 0.5 * self.weights * norms[:, None, s] / self.lam
            code = self._cheapest(best, price)
            new = _powers(code)
            rest -= (new - c[:, :, s])[:, :, None] * self.b[:, None, s]
            c[:, :, s] = new
        self.c = c
        counts = torch.bincount(_codes(c).abs().flatten(), minlength=DEPTH + 1).double() + 0.5
        counts[1:] /= 2  # two signs
        self.rates = -(counts / counts.sum()).log2()

    def _cheapest(self, best: Tensor, price: Tensor) -> Tensor:
        """Codes of the powers of two near ``best``, or zero, by error and rate."""
        size = best.abs().clamp(2.0 ** (1 - DEPTH), 1.0)
        below = (-size.log2()).ceil().clamp(0, DEPTH - 1).long() + 1
        candidates = torch.stack([torch.zeros_like(below), below, (below - 1).clamp_min(1)])
        values = torch.where(candidates == 0, 0.0, 2.0 ** (1 - candidates).double())
        costs = price * (best.abs() - values).square() + self.rates[candidates]
        return candidates.gather(0, costs.argmin(0)[None])[0] * best.sign().long()

    def basis(self) -> None:
        """Least squares; the curvature is the same for all pieces, and cancels."""
        weighted = self.c * self.weights[:, :, None]
        gram = weighted.transpose(1, 2) @ self.c
        damped = gram + 1e-9 * torch.eye(gram.shape[1]) * gram.diagonal(dim1=1, dim2=2).amax(1)[:, None, None]
        empty = gram.diagonal(dim1=1, dim2=2) == 0
        damped = damped + torch.diag_embed(empty.double())
        self.b = torch.linalg.solve(damped, weighted.transpose(1, 2) @ self.pieces)

    def finish(self, name: str, weight: Tensor) -> Product | None:
        """Round the bases by their own curvature, and fit the coefficients again to compensate."""
        energy = (self.weights[:, :, None] * self.c.square()).sum(1).mean()
        h = float(energy * self.h.diagonal().mean())
        if not h > 0:
            return None
        code = round(STEPS * 0.5 * math.log2(12 * self.lam / (h * math.log(2))))
        unit = 2.0 ** (code / STEPS)
        levels = (self.b / unit).round()
        if levels.abs().max() * self.b.shape[1] * 2 ** (DEPTH - 1) > LARGEST or not levels.any():
            return None
        self.b = levels * unit
        if not bool(torch.isfinite(self.b.to(weight.dtype)).all()):
            return None  # a basis can be larger than the type of the weight allows
        self.coefficients()
        codes = _codes(self.c).to(torch.int32).reshape(-1, self.c.shape[2]).numpy()
        dtype = str(weight.dtype).removeprefix("torch.")
        return Product(name, dtype, tuple(weight.shape), codes, levels.to(torch.int32).numpy(), code)


def _axes(pieces: Tensor) -> Tensor:
    """Principal directions of the pieces of a group, largest first, ``[groups, S, S]``."""
    _, vectors = torch.linalg.eigh(pieces.transpose(1, 2) @ pieces)
    return vectors.flip(2).transpose(1, 2).contiguous()


def _lines(pieces: Tensor) -> Tensor:
    """Directions that many pieces have, as if their coefficients are sparse; otherwise different directions."""
    shown = pieces[:, :: max(1, pieces.shape[1] // SHOWN)]
    length = shown.norm(dim=2, keepdim=True)
    unit = shown / length.clamp_min(1e-30)
    along = (unit @ unit.transpose(1, 2)).abs()
    crowd = along**64 @ (length > 0).double()
    size = pieces.shape[2]
    chosen = []
    for _ in range(size):
        best = (crowd * (length > 0)).argmax(1)[:, 0]
        rows = torch.arange(len(pieces))
        chosen.append(unit[rows, best])
        crowd = crowd * (1 - along[rows, best].unsqueeze(2) ** 16)  # pieces along this direction are counted
    basis = torch.stack(chosen, 1)
    return basis + 1e-3 * torch.eye(size)  # all pieces could have the same direction


def _codes(c: Tensor) -> Tensor:
    """Code of the power of two that is nearest in the logarithm; zero if far below the smallest."""
    exponent = -c.abs().clamp_min(1e-30).log2()
    code = exponent.round().clamp(0, DEPTH - 1).long() + 1
    return torch.where(exponent > DEPTH - 0.5, 0, code * c.sign().long())


def _powers(codes: Tensor) -> Tensor:
    return torch.where(codes == 0, 0.0, codes.sign().double() * 2.0 ** (1 - codes.abs()).double())


def _block(inputs: Tensor, size: int) -> Tensor:
    """The mean of A's diagonal blocks of this size, ``[size, size]``."""
    if inputs.dim() == 2:
        return torch.diag(inputs.reshape(-1, size).mean(0))
    groups, cols, _ = inputs.shape
    blocks = inputs.reshape(groups, cols // size, size, cols // size, size)
    mean = blocks.diagonal(dim1=1, dim2=3).mean((0, 3))
    return mean + 1e-6 * mean.diagonal().mean() * torch.eye(size)


def _tied(draft: Draft) -> set[str]:
    """Names of tied parameters."""
    names: dict[int, list[str]] = {}
    for name, parameter in draft.network.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return {name for group in names.values() if len(group) > 1 for name in group}
