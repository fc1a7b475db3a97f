"""Inputs of layers in a draft, with the outputs of the original's layers at the same positions.

Each layer is fitted on a sample of its positions. A walk is one forward pass of the draft in which each layer can be
changed just before it is called, so that later layers see the effect.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from szilard.compression.batches import length
from szilard.compression.draft import Draft, Setting
from szilard.compression.finite import all_finite
from szilard.compression.half_precision import COARSE
from szilard.compression.memory import allowed_bytes
from szilard.compression.passes.correct import corrected, mean_by_channel
from szilard.compression.patches import Layer, by_row, padded
from szilard.compression.plan import guessed

MOST = 16384  # most positions of a layer in the fit
MOST_VALUES = 1 << 24  # most values of a layer's patches in the fit
SOME = 8  # examples whose target outputs are computed in float64 at a time


@dataclass(frozen=True)
class Sample:
    """At some positions: inputs x̂ ``[groups, n, cols]``, missing outputs ``[groups, n, rows]``; means are removed."""

    x: Tensor
    missing: Tensor


@dataclass(eq=False)
class Fitting:
    """One layer at the sampled positions: patches, and the original's outputs without bias.

    They can be as large as weights, so :meth:`samples` frees them.

    Attributes:
        patches: ``[groups, n, cols]``; the fitted ones come first.
        wanted: ``[n, rows]``.
        fitted: number of fitted patches; the others are held out.
    """

    patches: Tensor
    wanted: Tensor
    fitted: int

    def samples(self, groups: int, matrix: Tensor) -> tuple[Sample, Sample]:
        """The fitted sample and the held-out one, for a weight ``[rows, cols]``; can be called only once."""
        x, wanted = self.patches, self.wanted
        self.patches = self.wanted = torch.empty(0)
        weight = matrix.to(x).reshape(groups, -1, matrix.shape[1])
        missing = wanted.to(x).reshape(x.shape[1], groups, -1).transpose(0, 1)
        del wanted
        output = x @ weight.transpose(1, 2)
        missing = missing.sub_(output) if groups == 1 else missing - output
        del output
        for values in (x, missing):
            for part in (values[:, : self.fitted], values[:, self.fitted :]):
                part.sub_(part.mean(1, keepdim=True))
        return (
            Sample(x[:, : self.fitted], missing[:, : self.fitted]),
            Sample(x[:, self.fitted :], missing[:, self.fitted :]),
        )


@dataclass(eq=False)
class Seen:
    """Outputs of the original network and its layers for the inputs.

    Attributes:
        output: of the network.
        key: with the layer's name appended, the key on the shelf of its outputs at the sampled positions.
        positions: by layer, the sampled positions ``[examples, k]``; only layers that are called once.
        shapes: of the layers' outputs.
        means: of the outputs without bias, over the positions of the fitted inputs, float64 ``[rows]``.
    """

    output: Tensor
    key: tuple[Any, ...]
    positions: dict[str, Tensor] = field(default_factory=dict)
    shapes: dict[str, torch.Size] = field(default_factory=dict)
    means: dict[str, Tensor] = field(default_factory=dict)


def seen(setting: Setting, inputs: Any, fitted: int, layers: Mapping[str, Layer]) -> Seen:
    """Run the original once for all λ; outputs at the sampled positions are stored on the shelf."""
    key = Seen, tuple(layers), length(inputs)
    if key in setting.memo:
        kept: Seen = setting.memo[key]
        return kept
    modules, count = dict(setting.original.named_modules()), length(inputs)
    most = min(MOST_VALUES, allowed_bytes(setting.original) // 8)
    generator = torch.Generator().manual_seed(setting.seed)
    found, calls = Seen(torch.empty(0), key), dict.fromkeys(layers, 0)

    def look(name: str) -> Callable[..., None]:
        def after(module: Layer, given: tuple[Any, ...], output: Tensor) -> None:
            calls[name] += 1
            if not _fits(module, given, output, count):
                calls[name] += 1  # so that it is not fitted
            elif calls[name] == 1:
                places = output.numel() // (count * len(module.weight))
                k = min(places, max(1, most // (module.weight[0].numel() * groups(module)) // fitted))
                k = min(k, math.ceil(MOST / fitted))
                chosen = torch.arange(places).expand(count, -1)
                if k < places:
                    chosen = torch.randint(places, (count, k), generator=generator)
                found.positions[name], found.shapes[name] = chosen, output.shape
                at = _at(module, output, chosen).cpu()
                found.means[name] = mean_by_channel(at[:fitted], [0, 1], 2)
                setting.shelf[*key, name] = at

        return after

    with _hooks(modules, {name: (None, look(name)) for name in layers}):
        found.output = setting.forward(setting.original, inputs).detach().clone()
    for name, called in calls.items():
        if called != 1:
            found.positions.pop(name, None)
    setting.memo[key] = found
    return found


def _fits(layer: Layer, given: tuple[Any, ...], output: Any, count: int) -> bool:
    """Whether the first input of a call is a tensor with a row for each example, and the output is finite."""
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
    """Outputs at sampled positions without bias, ``[examples, k, rows]``, in float32 or float64."""
    rows = by_row(layer, output)
    index = positions.to(output.device)[:, :, None].expand(-1, -1, rows.shape[2])
    found = rows.gather(1, index)
    found = found.float() if found.dtype in COARSE else found
    return found if layer.bias is None else found.sub_(layer.bias.to(found))


def _patches_at(layer: Layer, x: Tensor, positions: Tensor) -> Tensor:
    """Patches at sampled positions only, ``[groups, examples * k, cols]``."""
    if isinstance(layer, nn.Linear):
        seen = x.reshape(len(x), -1, x.shape[-1])
        found = seen.gather(1, positions.to(x.device)[:, :, None].expand(-1, -1, seen.shape[2]))[:, :, None]
    else:
        x = padded(layer, x)
        for axis, (size, stride, dilation) in enumerate(
            zip(layer.kernel_size, layer.stride, layer.dilation, strict=True), start=2
        ):
            x = x.unfold(axis, dilation * (size - 1) + 1, stride)[..., ::dilation]  # a view
        dims = (x.dim() - 2) // 2
        where = torch.unravel_index(positions.to(x.device), x.shape[2 : 2 + dims])
        example = torch.arange(len(x), device=x.device)[:, None].expand(-1, positions.shape[1])
        channels = x.movedim(1, 1 + dims)
        found = channels[(example, *where)].flatten(2).unflatten(2, (layer.groups, -1))
    joined = found.flatten(0, 1).transpose(0, 1).contiguous()
    return joined.float() if joined.dtype in COARSE else joined


class Walk:
    """Forward passes of the draft in which layers can be changed, with means as :class:`Correct` will set them.

    Attributes:
        changed: names of the changed weights.
    """

    def __init__(
        self,
        draft: Draft,
        setting: Setting,
        inputs: Any,
        fitted: int,
        seen: Seen,
        layers: Mapping[str, Layer],
        factors: Mapping[str, Tensor],
    ) -> None:
        self.draft, self.setting, self.inputs, self.fitted, self.seen = draft, setting, inputs, fitted, seen
        self.layers, self.factors = layers, factors
        self.changed: list[str] = []
        self._corrected = corrected(draft, setting.original)

    def run(self, fit: Callable[[str, Layer, Fitting, Draft, Setting], bool] | None) -> float:
        """Divergence of the outputs from the original's, nats, over all inputs, because examples differ widely."""
        done: set[str] = set()
        hooks = {name: (self._before(name, fit, done), self._after(name)) for name in self.layers}
        with _hooks(dict(self.draft.network.named_modules()), hooks):
            output = self.setting.forward(self.draft.network, self.inputs)
        wanted = self.seen.output
        if output.shape != wanted.shape:
            return math.nan
        return float((self.setting.likelihood or guessed(wanted)).divergence(wanted, output))

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
            fitting = self._fitting(name, module, x)
            if fitting is not None and fit(name, module, fitting, self.draft, self.setting):
                self.changed.append(f"{name}.weight")

        return before

    def _fitting(self, name: str, module: Layer, x: Tensor) -> Fitting | None:
        """Patches of a layer's inputs with the original's outputs; None if they do not fit or are not finite."""
        positions = self.seen.positions[name]
        seen = _patches_at(module, x, positions)
        wanted = self.setting.shelf[*self.seen.key, name]
        if seen.shape[1] != wanted.shape[0] * wanted.shape[1] or not all_finite(seen):
            return None
        scaled = torch.empty_like(wanted, dtype=seen.dtype)
        for part, given in zip(scaled.split(SOME), wanted.split(SOME), strict=True):
            part.copy_(given * self.factors[name])  # in float64
        return Fitting(seen, scaled.flatten(0, 1), self.fitted * positions.shape[1])

    def _after(self, name: str) -> Callable[..., Tensor | None]:
        """A hook that shifts the output to the mean that :class:`Correct` will give it."""

        def after(module: Layer, given: tuple[Any, ...], output: Tensor) -> Tensor | None:
            if name not in self._corrected or output.shape != self.seen.shapes[name]:
                return None
            now = _at(module, output, self.seen.positions[name])[: self.fitted].cpu()
            more = self.seen.means[name] * self.factors[name] - mean_by_channel(now, [0, 1], 2)
            del now
            axis = output.dim() - 1 if isinstance(module, nn.Linear) else 1
            shape = [-1 if d == axis else 1 for d in range(output.dim())]
            return output + more.to(output).reshape(shape)

        return after


@contextmanager
def _hooks(modules: Mapping[str, nn.Module], hooks: Mapping[str, tuple[Any, Any]]) -> Iterator[None]:
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


def groups(module: nn.Module) -> int:
    return int(getattr(module, "groups", 1))
