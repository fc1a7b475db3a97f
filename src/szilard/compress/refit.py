"""Fit each layer to the inputs that the rounded layers before it give, before it is rounded itself.

Rounding makes the inputs x̂ of a layer differ from those of the original, x. The weight that answers x̂ most nearly as
the original's W answered x is, with moments about the means,

    W* = W + α E[(W x - W x̂) x̂ᵀ] (E[x̂ x̂ᵀ] + δ)^-1,

at α = 1; W x is the original layer's output. Means are left to :class:`~szilard.compress.Correct`. Layers follow each
other in the order in which the network calls them, and each is rounded at once, so that the next one sees its error
(asymmetric calibration: Li et al. 2025, "GPTAQ", https://arxiv.org/abs/2504.02692).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from szilard.compress.batches import length
from szilard.compress.correct import at_once, corrected
from szilard.compress.draft import Draft, Quantised, Setting
from szilard.compress.graph import shared
from szilard.compress.layers import tensors
from szilard.compress.patches import LAYERS, Layer, by_row, patches
from szilard.compress.plan import guessed
from szilard.compress.precise import COARSE
from szilard.compress.room import room
from szilard.compress.rounding import Quantise
from szilard.networks import is_itself

ALPHA = 0.5  # by the files of benchmarks/any_trained.py and ResNet-20
HELD = 4  # of so many inputs, one is not fitted to
MOST = 16384  # positions of one layer that are fitted to
FEW = 2.0  # times the columns, positions below which nothing is fitted
DAMPING = 0.01  # of the mean diagonal of E[x̂ x̂ᵀ]
MANY = 1 << 22  # values of patches that are made at a time
MOST_VALUES = 1 << 24  # of patches of a layer that are fitted to
SAME, SAME_COARSE = 1e-3, 2e-2  # relative difference from the original's weight, but for factors of rows
MATRICES = 4  # float64 matrices of columns by columns at once


class Refit:
    """Weights fitted to the inputs that rounded layers give, and rounded anew. Needs calibration inputs.

    Follows :class:`~szilard.compress.Quantise`, and rounds as that does. A layer is fitted only if it is exactly
    torch's own, without hooks, is called once, shares its weight with nobody, if its curvature was measured at its
    inputs, and if there are :data:`FEW` times as many positions as columns. One in :data:`HELD` inputs is kept from
    the fit, and α is less for a layer whose outputs are not explained on those. If the network's answers to all inputs
    are no nearer to the original's than with plain rounding, that stays.

    Inputs are as many as can be answered at once (:mod:`szilard.compress.room`), as for
    :class:`~szilard.compress.Correct`. The original's outputs at a sample of positions lie on the setting's shelf.

    Args:
        quantise: of the same passes; it keeps the weights that it rounds on the setting's shelf.
        alpha: α, the share of the least-squares correction that is made.
    """

    def __init__(self, quantise: Quantise, *, alpha: float = ALPHA) -> None:
        self.quantise, self.alpha = quantise, alpha
        quantise.keeps = True

    @torch.no_grad()
    def __call__(self, draft: Draft, setting: Setting) -> None:
        made: Mapping[str, Quantised] = setting.memo.pop((self.quantise, "made"), {})
        if not setting.inputs or not self.alpha:
            return
        inputs = at_once(setting)
        count = length(inputs)
        fitted = count - max(1, count // HELD)
        if fitted < 1:
            return
        layers = self._layers(draft, setting, made)
        seen = _seen(setting, inputs, fitted, layers)
        layers = {name: layer for name, layer in layers.items() if name in seen.positions}
        factors = {name: rows for name in layers if (rows := self._factors(name, setting)) is not None}
        layers = {name: layer for name, layer in layers.items() if name in factors}
        targets = dict(draft.targets)
        if not layers:
            return
        walk = _Walk(draft, setting, inputs, fitted, seen, layers, factors)
        before = walk.run(None)
        after = walk.run(self._fit)
        if not after < before:  # NaN is no less
            for name in walk.changed:
                draft.set(name, made[name])
        draft.targets.update({name: targets[name] for name in walk.changed if name in targets})

    def _layers(self, draft: Draft, setting: Setting, made: Mapping[str, Quantised]) -> dict[str, Layer]:
        """Layers by their name that can be fitted."""
        held, known = shared(draft.network), self.quantise.measured(setting)
        theirs = dict(setting.original.named_modules())
        names = {id(module): name for name, module in draft.network.named_modules()}
        most = math.isqrt(room(setting.original) // (8 * MATRICES))
        found: dict[str, Layer] = {}
        for weight, module, value in tensors(draft):
            name, _, leaf = weight.rpartition(".")
            if (
                leaf == "weight"
                and weight in made
                and draft.quantised.get(weight) is made[weight]
                and weight in known
                and is_itself(module, LAYERS)
                and names.get(id(module)) == name
                and type(theirs.get(name)) is type(module)
                and is_itself(theirs[name], LAYERS)
                and id(module.weight) not in held
                and value[0].numel() * math.isqrt(_groups(module)) <= most
                and known[weight].hooked
            ):
                assert isinstance(module, LAYERS)
                found[name] = module
        return found

    def _factors(self, name: str, setting: Setting) -> Tensor | None:
        """What the rows of the original's weight were multiplied with; None where more than that was done to them."""
        was: Tensor = setting.shelf[self.quantise, "weight", f"{name}.weight"]
        original = setting.original.get_submodule(name)
        assert isinstance(original, LAYERS)
        return _ratio(was, original.weight.detach().cpu())

    def _fit(self, name: str, layer: Layer, given: Fitting, draft: Draft, setting: Setting) -> bool:
        """Round a layer anew to its present inputs; whether it was."""
        weight = f"{name}.weight"
        was: Tensor = setting.shelf[self.quantise, "weight", weight]
        matrix = was.flatten(1)
        groups, cols = _groups(layer), matrix.shape[1]
        if given.fitted < FEW * cols:
            return False
        seen, unseen = given.samples(groups, matrix)
        change = fitted_change(seen.x, seen.missing)
        outputs = self.quantise.measured(setting)[weight].outputs.double().reshape(groups, -1)
        alpha = self.alpha * explained(unseen.x, unseen.missing, change, outputs)
        if not alpha > 0:
            return False
        moved = matrix.double() + alpha * change.flatten(0, 1)
        if not bool(moved.isfinite().all()):
            return False
        draft.set(weight, self.quantise.rounded(weight, layer, moved.to(was), draft, setting))
        return True


@dataclass(frozen=True)
class Sample:
    """Of some positions: inputs x̂ ``[groups, n, cols]``, and what outputs miss ``[groups, n, rows]``; about means."""

    x: Tensor
    missing: Tensor


@dataclass(frozen=True)
class Fitting:
    """Of one layer at the sampled positions: patches, and the original's outputs without their bias.

    Attributes:
        patches: ``[groups, n, cols]``, those that are fitted to first.
        wanted: ``[n, rows]``.
        fitted: how many are.
    """

    patches: Tensor
    wanted: Tensor
    fitted: int

    def samples(self, groups: int, matrix: Tensor) -> tuple[Sample, Sample]:
        """The fitted sample and the held-out one, for a weight ``[rows, cols]``. The patches are spent."""
        x = self.patches
        weight = matrix.to(x).reshape(groups, -1, matrix.shape[1])
        missing = self.wanted.to(x).reshape(x.shape[1], groups, -1).transpose(0, 1) - x @ weight.transpose(
            1, 2
        )
        for values in (x, missing):
            for part in (values[:, : self.fitted], values[:, self.fitted :]):
                part.sub_(part.mean(1, keepdim=True))
        return (
            Sample(x[:, : self.fitted], missing[:, : self.fitted]),
            Sample(x[:, self.fitted :], missing[:, self.fitted :]),
        )


def fitted_change(x: Tensor, missing: Tensor) -> Tensor:
    """The change of a weight that makes good what its outputs miss, by damped least squares.

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
    return torch.linalg.solve(moments, (x.transpose(1, 2) @ missing).double().cpu()).transpose(1, 2)


def explained(x: Tensor, missing: Tensor, change: Tensor, outputs: Tensor) -> float:
    """The share of a change that is best for other inputs than those that it was fitted to, from 0 to 1.

    Args:
        outputs: G, what an error of a row's output costs, ``[groups, rows]``.
    """
    made = x @ change.transpose(1, 2).to(x)
    size = float((made.square().sum(1).double().cpu() * outputs).sum())
    agree = float(((made * missing).sum(1).double().cpu() * outputs).sum())
    if not (math.isfinite(size) and math.isfinite(agree) and size > 0):
        return 0.0
    return min(1.0, max(0.0, agree / size))


def _ratio(matrix: Tensor, original: Tensor) -> Tensor | None:
    """Of the rows of one weight to those of another, float64 ``[rows]``; None where they differ by more than it."""
    if matrix.shape != original.shape:
        return None
    ours, theirs = matrix.double().flatten(1), original.double().flatten(1)
    size = theirs.square().sum(1)
    rows = (ours * theirs).sum(1) / torch.where(size > 0, size, 1.0)
    gap = float((ours - rows[:, None] * theirs).norm())
    same = SAME_COARSE if matrix.dtype in COARSE else SAME
    return rows if gap <= same * float(ours.norm()) else None


def _groups(module: nn.Module) -> int:
    return int(getattr(module, "groups", 1))


@dataclass(eq=False)
class _Seen:
    """What the original answers to the inputs.

    Attributes:
        answer: the network's.
        positions: by layer, the sampled positions ``[examples, k]``; of layers that are called once.
        shapes: of their outputs.
        means: of these without bias, over the positions of inputs that are fitted to, float64 ``[rows]``.
    """

    answer: Tensor
    positions: dict[str, Tensor] = field(default_factory=dict)
    shapes: dict[str, torch.Size] = field(default_factory=dict)
    means: dict[str, Tensor] = field(default_factory=dict)


def _seen(setting: Setting, inputs: Any, fitted: int, layers: Mapping[str, Layer]) -> _Seen:
    """Once for all λ; outputs at the positions go to the shelf."""
    key = Refit, tuple(layers), length(inputs)
    if key in setting.memo:
        kept: _Seen = setting.memo[key]
        return kept
    modules, count = dict(setting.original.named_modules()), length(inputs)
    most = min(MOST_VALUES, room(setting.original) // 8)
    generator = torch.Generator().manual_seed(setting.seed)
    found, calls = _Seen(torch.empty(0)), dict.fromkeys(layers, 0)

    def look(name: str) -> Callable[..., None]:
        def after(module: Layer, given: tuple[Any, ...], output: Tensor) -> None:
            calls[name] += 1
            if not _fits(module, given, output, count):
                calls[name] += 1  # never fitted
            elif calls[name] == 1:
                places = output.numel() // (count * len(module.weight))
                k = min(places, max(1, most // (module.weight[0].numel() * _groups(module)) // fitted))
                k = min(k, math.ceil(MOST / fitted))
                chosen = torch.arange(places).expand(count, -1)
                if k < places:
                    chosen = torch.randint(places, (count, k), generator=generator)
                found.positions[name], found.shapes[name] = chosen, output.shape
                at = _at(module, output, chosen).cpu()
                found.means[name] = at[:fitted].double().mean((0, 1))
                setting.shelf[Refit, "outputs", name] = at

        return after

    with _hooks(modules, {name: (None, look(name)) for name in layers}):
        found.answer = setting.forward(setting.original, inputs).detach().clone()
    for name, called in calls.items():
        if called != 1:
            found.positions.pop(name, None)
    setting.memo[key] = found
    return found


def _fits(layer: Layer, given: tuple[Any, ...], output: Any, count: int) -> bool:
    """Whether a call has one input, a tensor with a row for each example."""
    dims = {nn.Linear: None, nn.Conv1d: 3, nn.Conv2d: 4, nn.Conv3d: 5}[type(layer)]
    x = given[0] if given else None
    return (
        isinstance(x, Tensor)
        and isinstance(output, Tensor)
        and x.dim() >= 2
        and dims in (None, x.dim())
        and len(x) == len(output) == count
        and output.numel() > 0
        and bool(output.isfinite().all())
    )


def _at(layer: Layer, output: Tensor, positions: Tensor) -> Tensor:
    """Outputs at sampled positions without their bias, ``[examples, k, rows]``, in float32 or better."""
    rows = by_row(layer, output)
    index = positions.to(output.device)[:, :, None].expand(-1, -1, rows.shape[2])
    found = rows.gather(1, index)
    found = found.float() if found.dtype in COARSE else found
    return found if layer.bias is None else found - layer.bias.to(found)


def _patches_at(layer: Layer, x: Tensor, positions: Tensor) -> Tensor:
    """Patches at them, ``[groups, examples * k, cols]``, some examples at a time."""
    values = patches(layer, x[:1]).numel()
    found = []
    for part, chosen in zip(
        x.split(max(1, MANY // max(1, values))), positions.split(max(1, MANY // max(1, values))), strict=True
    ):
        seen = patches(layer, part)
        seen = seen.reshape(len(seen), len(part), -1, seen.shape[2])
        index = chosen.to(x.device)[None, :, :, None].expand(len(seen), -1, -1, seen.shape[3])
        found.append(seen.gather(2, index).flatten(1, 2))
    joined = torch.cat(found, 1)
    return joined.float() if joined.dtype in COARSE else joined


class _Walk:
    """Forward passes of the draft in which layers may be changed, and means are as Correct will make them.

    Attributes:
        changed: names of weights.
    """

    def __init__(
        self,
        draft: Draft,
        setting: Setting,
        inputs: Any,
        fitted: int,
        seen: _Seen,
        layers: Mapping[str, Layer],
        factors: Mapping[str, Tensor],
    ) -> None:
        self.draft, self.setting, self.inputs, self.fitted, self.seen = draft, setting, inputs, fitted, seen
        self.layers, self.factors = layers, factors
        self.changed: list[str] = []
        self._corrected = corrected(draft, setting.original)

    def run(self, fit: Callable[[str, Layer, Fitting, Draft, Setting], bool] | None) -> float:
        """Nats by which the answers differ from the original's, over all inputs, because examples differ widely."""
        done: set[str] = set()
        hooks = {name: (self._before(name, fit, done), self._after(name)) for name in self.layers}
        with _hooks(dict(self.draft.network.named_modules()), hooks):
            answer = self.setting.forward(self.draft.network, self.inputs)
        wanted = self.seen.answer
        if answer.shape != wanted.shape:
            return math.nan
        return float((self.setting.likelihood or guessed(wanted)).divergence(wanted, answer))

    def _before(
        self,
        name: str,
        fit: Callable[[str, Layer, Fitting, Draft, Setting], bool] | None,
        done: set[str],
    ) -> Callable[..., None] | None:
        if fit is None:
            return None

        def before(module: Layer, given: tuple[Any, ...]) -> None:
            positions, x = self.seen.positions[name], given[0] if given else None
            if name in done or not isinstance(x, Tensor) or len(x) != len(positions):
                return
            done.add(name)
            self.setting.progress.step("refitting layer", len(done), len(self.layers))
            wanted = self.setting.shelf[Refit, "outputs", name]
            seen = _patches_at(module, x, positions)
            if seen.shape[1] != wanted.shape[0] * wanted.shape[1] or not bool(seen.isfinite().all()):
                return
            wanted = (wanted * self.factors[name]).flatten(0, 1)
            fitting = Fitting(seen, wanted, self.fitted * positions.shape[1])
            if fit(name, module, fitting, self.draft, self.setting):
                self.changed.append(f"{name}.weight")

        return before

    def _after(self, name: str) -> Callable[..., Tensor | None]:
        """The output with the mean that Correct will give it."""

        def after(module: Layer, given: tuple[Any, ...], output: Tensor) -> Tensor | None:
            if name not in self._corrected or output.shape != self.seen.shapes[name]:
                return None
            now = _at(module, output, self.seen.positions[name])[: self.fitted].cpu().double()
            more = self.seen.means[name] * self.factors[name] - now.mean((0, 1))
            axis = output.dim() - 1 if isinstance(module, nn.Linear) else 1
            shape = [-1 if d == axis else 1 for d in range(output.dim())]
            return output + more.to(output).reshape(shape)

        return after


@contextmanager
def _hooks(modules: Mapping[str, nn.Module], hooks: Mapping[str, tuple[Any, Any]]) -> Any:
    handles = []
    try:
        for name, (before, after) in hooks.items():
            if before is not None:
                handles.append(modules[name].register_forward_pre_hook(before))
            handles.append(modules[name].register_forward_hook(after))
        yield
    finally:
        for handle in handles:
            handle.remove()
