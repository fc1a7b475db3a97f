"""Fit each layer to the outputs of the rounded layers before it, before it is rounded itself.

Rounding makes the inputs x̂ of a layer differ from those of the original, x. The weight whose outputs for x̂ are closest
to the original's outputs W x is, with moments about the means,

    W* = W + α E[(W x - W x̂) x̂ᵀ] (E[x̂ x̂ᵀ] + δ)^-1,

at α = 1. Means are left to :class:`~szilard.compression.Correct`. Layers are fitted in the order in which the network
calls them, and each is rounded immediately, so that the next one sees its error (asymmetric calibration: Li et al.
2025, "GPTAQ", ICML, https://arxiv.org/abs/2504.02692).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from szilard.compression.batches import length
from szilard.compression.draft import Draft, Quantised, Setting
from szilard.compression.graph import shared
from szilard.compression.half_precision import COARSE
from szilard.compression.layer_walk import Fitting, Walk, groups, seen
from szilard.compression.layers import tensors
from szilard.compression.memory import allowed_bytes
from szilard.compression.passes.correct import at_once
from szilard.compression.passes.rounding import Quantise
from szilard.compression.patches import LAYERS, Layer
from szilard.compression.scaled import rate
from szilard.networks import is_itself

ALPHAS = (1.0, 0.5)  # the first is better for chains of layers; for ResNet-20 both are equal
HELD = 4  # one of this many inputs is held out
FEW = 2.0  # a layer with fewer positions than this times its columns is not fitted
DAMPING = 0.01  # of the mean diagonal of E[x̂ x̂ᵀ]
SAME, SAME_COARSE = 1e-3, 2e-2  # relative difference from the original's weight, apart from factors of rows
TINY = 1e-5  # for smaller relative changes, a weight is not rounded again
MATRICES = 4  # number of float64 matrices of columns by columns in memory at once


class Refit:
    """Fit weights to the outputs of the rounded layers before them, and round them again. Needs calibration inputs.

    Runs after :class:`~szilard.compression.Quantise`, and rounds in the same way. A layer is fitted only if it is
    exactly torch's own, has no hooks, is called once, does not share its weight, if its curvature was measured at its
    inputs, and if it has at least :data:`FEW` times as many positions as columns. One in :data:`HELD` inputs is held
    out, and α is smaller for a layer whose fit does not explain the held-out outputs. If F = D + λ · bits, with D the
    divergence of the outputs from the original's over all inputs, is not smaller than with plain rounding, plain
    rounding stays.

    The fit uses as many inputs as fit in memory at once (:mod:`szilard.compression.memory`), as
    :class:`~szilard.compression.Correct` does. The original's outputs at a sample of positions are stored on the
    setting's shelf.

    Args:
        quantise: the :class:`~szilard.compression.Quantise` of the same list of passes; it stores the weights that it
            rounds on the setting's shelf.
        alphas: values of α, the share of the least-squares correction. All are tried at the first λ, and the one with
            the smallest F is used for further λ.
    """

    name = "refit"
    summary = "Refits each layer to its inputs from quantised layers"
    source = "GPTAQ, Li et al. 2025, arXiv:2504.02692"
    order = 4

    def __init__(self, quantise: Quantise, *, alphas: Sequence[float] = ALPHAS) -> None:
        self.quantise, self.alphas = quantise, tuple(alphas)
        quantise.keeps = True

    @torch.no_grad()
    def __call__(self, draft: Draft, setting: Setting) -> None:
        made: Mapping[str, Quantised] = setting.memo.pop((self.quantise, "made"), {})
        if not setting.inputs or not self.alphas:
            return
        inputs = at_once(setting)
        count = length(inputs)
        fitted = count - max(1, count // HELD)
        if fitted < 1:
            return
        layers = self._layers(draft, setting, made)
        found = seen(setting, inputs, fitted, layers)
        layers = {
            name: layer
            for name, layer in layers.items()
            if name in found.positions
            and fitted * found.positions[name].shape[1] >= FEW * layer.weight[0].numel()
        }
        factors = {name: rows for name in layers if (rows := self._factors(name, setting)) is not None}
        layers = {name: layer for name, layer in layers.items() if name in factors}
        targets = dict(draft.targets)
        if not layers:
            return
        walk = Walk(draft, setting, inputs, fitted, found, layers, factors)
        chosen: Mapping[str, Quantised] = {}
        least = walk.run(None) + self._price(made, layers, setting)
        kept = setting.memo.get((self, "alpha"))
        best: float | None = None
        for alpha in self.alphas if kept is None else (kept,):
            _put(draft, made, walk.changed)
            walk.changed.clear()
            reached = walk.run(partial(self._fit, alpha)) + self._price(draft.quantised, layers, setting)
            if reached < least:  # False for NaN
                chosen, least, best = {name: draft.quantised[name] for name in walk.changed}, reached, alpha
        if best is not None:
            setting.memo[self, "alpha"] = best
        _put(draft, {**made, **chosen}, [f"{name}.weight" for name in layers])
        draft.targets.update(targets)

    def _price(self, levels: Mapping[str, Quantised], layers: Mapping[str, Layer], setting: Setting) -> float:
        """λ times the bits of the layers' levels."""
        bits = sum(rate(levels[f"{name}.weight"].levels) for name in layers)
        return self.quantise.price * setting.lam * bits

    def _layers(self, draft: Draft, setting: Setting, made: Mapping[str, Quantised]) -> dict[str, Layer]:
        """Layers that can be fitted, by name."""
        held, known = shared(draft.network), self.quantise.measured(setting)
        theirs = dict(setting.original.named_modules())
        names = {id(module): name for name, module in draft.network.named_modules()}
        most = math.isqrt(allowed_bytes(setting.original) // (8 * MATRICES))
        found: dict[str, Layer] = {}
        for weight, module, value in tensors(draft):
            name, _, leaf = weight.rpartition(".")
            if (
                name
                and leaf == "weight"
                and weight in made
                and draft.quantised.get(weight) is made[weight]
                and weight in known
                and is_itself(module, LAYERS)
                and names.get(id(module)) == name
                and type(theirs.get(name)) is type(module)
                and is_itself(theirs[name], LAYERS)
                and id(module.weight) not in held
                and value[0].numel() * math.isqrt(groups(module)) <= most
                and known[weight].hooked
            ):
                assert isinstance(module, LAYERS)
                found[name] = module
        return found

    def _factors(self, name: str, setting: Setting) -> Tensor | None:
        """Factors by which the rows of the original's weight were multiplied; None if they were changed otherwise."""
        was: Tensor = setting.shelf[self.quantise, "weight", f"{name}.weight"]
        original = setting.original.get_submodule(name)
        assert isinstance(original, LAYERS)
        return _ratio(was, original.weight.detach().cpu())

    def _fit(
        self, share: float, name: str, layer: Layer, given: Fitting, draft: Draft, setting: Setting
    ) -> bool:
        """Fit a layer to its present inputs and round it again; returns whether it was changed."""
        weight = f"{name}.weight"
        moved = self._moved(share, weight, layer, given, setting)  # frees the samples
        if moved is None:
            return False
        draft.set(weight, self.quantise.rounded(weight, layer, moved, draft, setting))
        return True

    def _moved(
        self, share: float, weight: str, layer: Layer, given: Fitting, setting: Setting
    ) -> Tensor | None:
        """The fitted weight ``[rows, cols]``; None if it stays as it is."""
        was: Tensor = setting.shelf[self.quantise, "weight", weight]
        matrix = was.flatten(1)
        parts = groups(layer)
        known, unseen = given.samples(parts, matrix)
        change = fitted_change(known.x, known.missing)
        outputs = self.quantise.outputs(weight, setting).double().reshape(parts, -1)
        alpha = share * explained(unseen.x, unseen.missing, change, outputs)
        if not alpha * float(change.norm()) > TINY * float(matrix.norm()):
            return None
        moved = matrix.double() + alpha * change.flatten(0, 1)
        return moved.to(was) if bool(moved.isfinite().all()) else None


def fitted_change(x: Tensor, missing: Tensor) -> Tensor:
    """The change of a weight that compensates its missing outputs, by damped least squares.

    Args:
        x: ``[groups, n, cols]``, of mean 0.
        missing: ``[groups, n, rows]``, of mean 0.

    Returns:
        ``[groups, rows, cols]``.
    """
    moments = (x.transpose(1, 2) @ x).double().cpu()
    diagonal = moments.diagonal(dim1=1, dim2=2)
    damping = DAMPING * diagonal.mean(1, keepdim=True)
    diagonal += damping + (damping == 0)
    wanted = (x.transpose(1, 2) @ missing).double().cpu()
    return _solved(moments, wanted).transpose(1, 2)


def _solved(matrices: Tensor, wanted: Tensor) -> Tensor:
    """``torch.linalg.solve``, bit for bit, but in place for symmetric matrices, because a copy needs much memory.

    Args:
        matrices: ``[groups, n, n]``; overwritten.
        wanted: ``[groups, n, m]``.
    """
    columns = matrices.transpose(1, 2)  # in the order that LAPACK needs
    if not torch.equal(matrices, columns):
        return torch.linalg.solve(matrices, wanted)
    pivots, info = torch.empty(0, dtype=torch.int32), torch.empty(0, dtype=torch.int32)
    torch.linalg.lu_factor_ex(columns, out=(columns, pivots, info))
    return torch.linalg.lu_solve(columns, pivots, wanted)


def explained(x: Tensor, missing: Tensor, change: Tensor, outputs: Tensor) -> float:
    """The share of a change that is best for held-out inputs, from 0 to 1.

    Args:
        x, missing: held-out inputs and missing outputs, as for :func:`fitted_change`.
        change: ``[groups, rows, cols]``.
        outputs: G, the cost of an error of each row's output, ``[groups, rows]``.
    """
    made = x @ change.transpose(1, 2).to(x)
    size = float((made.square().sum(1).double().cpu() * outputs).sum())
    agree = float(((made * missing).sum(1).double().cpu() * outputs).sum())
    if not (math.isfinite(size) and math.isfinite(agree) and size > 0):
        return 0.0
    return min(1.0, max(0.0, agree / size))


def _put(draft: Draft, levels: Mapping[str, Quantised], names: Sequence[str]) -> None:
    for name in names:
        if draft.quantised[name] is not levels[name]:
            draft.set(name, levels[name])


def _ratio(matrix: Tensor, original: Tensor) -> Tensor | None:
    """Ratio of the rows of one weight to those of another, float64 ``[rows]``; None if rows differ otherwise."""
    if matrix.shape != original.shape:
        return None
    ours, theirs = matrix.double().flatten(1), original.double().flatten(1)
    size = theirs.square().sum(1)
    rows = (ours * theirs).sum(1) / torch.where(size > 0, size, 1.0)
    gap = float((ours - rows[:, None] * theirs).norm())
    same = SAME_COARSE if matrix.dtype in COARSE else SAME
    return rows if gap <= same * float(ours.norm()) else None
