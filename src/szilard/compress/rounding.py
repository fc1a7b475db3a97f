"""The pass that makes integers of weights."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from szilard.compress import obs
from szilard.compress.curvature import Curvature, Layer, curvatures
from szilard.compress.draft import Draft, Setting
from szilard.compress.layers import tensors
from szilard.compress.room import for_gradients, give_back

MANY = 1 << 21  # entries


class Quantise:
    """Every weight to integers, by curvature and rate (:mod:`szilard.compress.obs`).

    Args:
        softness: τ of :func:`szilard.compress.curvature.curvatures`.
        curvature: take this instead of measuring it; by the layer's name.
        price: share of λ at which it rounds; below 1 where training on the integers will follow.
    """

    def __init__(
        self, *, softness: float = 4.0, curvature: dict[str, Curvature] | None = None, price: float = 1.0
    ) -> None:
        self.softness, self.price = softness, price
        self.curvature = curvature

    def __call__(self, draft: Draft, setting: Setting) -> None:
        names = [name for name, _, t in tensors(draft) if t.dim() >= 2 and name not in draft.products]
        sizes = {name: draft.tensor(name).numel() for name in names}
        every, done = sum(sizes.values()), 0
        for name, module, weight in tensors(draft):
            if name not in sizes:
                continue
            number = names.index(name) + 1
            give_back(draft.network)
            setting.progress.step("layer", number, len(names), share=done / every if every else 0.0)
            done += sizes[name]
            found = self.curvature_of(name, module, draft, setting)
            matrix = weight.cpu().reshape(len(weight), -1)
            roots = self._roots(name, found, setting)
            levels = obs.quantise(matrix, found.inputs, found.outputs, self.price * setting.lam, roots=roots)
            target = weight.clone() if draft.looks_back else None  # the draft's own is overwritten
            draft.set(name, levels)
            if target is not None:
                draft.targets[name] = target

    def _roots(self, name: str, found: Curvature, setting: Setting) -> list[Tensor] | None:
        """Inverse roots of A, which do not depend on λ; None where they are made as fast as they are read."""
        if found.inputs.dim() == 2:
            return None
        key = self, "roots", name
        if key not in setting.shelf:
            with setting.progress.aside():
                setting.shelf[key] = obs.inverse_roots(found.inputs)
        roots: list[Tensor] = setting.shelf[key]
        return roots

    def known(self, draft: Draft, setting: Setting) -> Mapping[str, Curvature]:
        """Curvatures by the layer's name: those that were given, or those of this network on these inputs.

        They are measured when they are first asked for, and kept in the setting: a search over λ asks again and again.
        """
        if self.curvature is not None:
            return self.curvature
        if self not in setting.memo:
            with (
                setting.progress.aside(),
                for_gradients(draft.network, setting.inputs, setting.forward) as batches,
            ):
                setting.memo[self] = curvatures(
                    draft.network,
                    setting.progress.following("curvature, batch", batches),
                    setting.forward,
                    softness=self.softness,
                    seed=setting.seed,
                    likelihood=setting.likelihood,
                    shelf=setting.shelf,
                )
        return self.measured(setting)

    def measured(self, setting: Setting) -> Mapping[str, Curvature]:
        """The same, but empty where nobody has asked for them yet."""
        found: Mapping[str, Curvature] = (
            setting.memo.get(self, {}) if self.curvature is None else self.curvature
        )
        return found

    def curvature_of(self, name: str, module: nn.Module, draft: Draft, setting: Setting) -> Curvature:
        """Of a weight by its name, or what is supposed where it is not known."""
        path, _, leaf = name.rpartition(".")
        layers = self.known(draft, setting)
        known = layers.get(path) if isinstance(module, Layer) and leaf == "weight" else None
        if known is not None:
            return known
        inputs, outputs = without_data(draft.tensor(name).detach())
        return Curvature(inputs, outputs, outputs)


def without_data(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A and G where nothing is known but the weight: as if half a nat were lost with the whole of it.

    Then ΔL = ½ ‖W - Ŵ‖² / ‖W‖²: noise counts by its share of the signal, in every layer alike.
    """
    rows = len(weight)
    cols = weight[0].numel() if rows else 0
    energy = weight.double().square().sum().item() if weight.numel() <= MANY else _energy(weight)
    h = 1 / energy if energy > 0 and math.isfinite(energy) else 1.0
    return torch.ones(1, cols, dtype=torch.float64), torch.full((rows,), h, dtype=torch.float64)


def _energy(weight: Tensor) -> float:
    """The sum of squares, without a copy of the whole weight in float64."""
    some = max(1, MANY // weight[0].numel())
    return math.fsum(part.double().square().sum().item() for part in weight.split(some))


class Offsets:
    """Biases and other vectors to integers: each to the nearest level of the step that its curvature asks for.

    Args:
        bits: precision of a vector whose curvature is not known: its root mean square is ``2^bits`` steps.
        quantise: of the same passes, which knows the curvatures.
    """

    def __init__(self, quantise: Quantise, *, bits: int = 8) -> None:
        self.quantise = quantise
        self.bits = bits

    def __call__(self, draft: Draft, setting: Setting) -> None:
        known = setting.memo.get(self)
        if known is None:
            known = setting.memo[self] = self._curvatures(draft, setting)
        for name, _, tensor in tensors(draft):
            if tensor.dim() != 1 or name in draft.quantised or name in draft.random:
                continue
            values = tensor.double().cpu()
            if bool((values == values[0]).all()):
                continue  # a constant costs nothing
            if name.endswith("running_var"):
                continue  # must stay positive; rare once BatchNorm is canonical
            size = values.square().mean().sqrt().item()
            h = known.get(name)
            step = size / 2**self.bits if h is None else math.sqrt(12 * setting.lam / (h * math.log(2)))
            code = round(16 * math.log2(min(max(step, size / 2**16), size / 2)))
            draft.set(name, obs.nearest(values[None], code))

    def _curvatures(self, draft: Draft, setting: Setting) -> dict[str, float]:
        """Mean curvature of the entries of a vector, by its name."""
        found = {}
        for name, curvature in self.quantise.measured(setting).items():
            h = curvature.offset.mean().item()
            if h > 0:
                found[f"{name}.bias"] = h
        for norm, layer in draft.norms.items():
            if f"{layer}.bias" in found:
                found[f"{norm}.bias"] = found[f"{layer}.bias"]
        return found
