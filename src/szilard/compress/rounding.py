"""The pass that makes integers of weights."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from szilard.compress import obs, scaled
from szilard.compress.curvature import Curvature, curvatures
from szilard.compress.draft import Draft, Quantised, Setting
from szilard.compress.layers import tensors
from szilard.compress.scaled import PLAIN, Way
from szilard.compress.ways import exponents

LOSS = 0.03  # nats that rounding costs at the default λ, if the loss is a parabola
SAFE = 8  # bits by row
RELATIVE = 1 / 32  # step over root mean square: what eight bits are where the largest is four times that
OCTAVES = 3  # of λ, in which tensors are rounded in the same way
SMALL = 0.05  # of the largest row's size, below which rows are not told apart


class Quantise:
    """Every weight to integers, by curvature and rate (:mod:`szilard.compress.obs`).

    Args:
        softness: τ of :func:`szilard.compress.curvature.curvatures`.
        curvature: take this instead of measuring it; by the tensor's name, "0.weight".
        price: share of λ at which it rounds; below 1 where training on the integers will follow.
    """

    def __init__(
        self, *, softness: float = 4.0, curvature: dict[str, Curvature] | None = None, price: float = 1.0
    ) -> None:
        self.softness, self.price = softness, price
        self.curvature = curvature

    def __call__(self, draft: Draft, setting: Setting) -> None:
        wanted = [
            (name, module)
            for name, module, weight in tensors(draft)
            if weight.dim() > 1 and name not in draft.products
        ]
        ways = self._ways(draft, setting, wanted)
        for name, module in wanted:
            found = self.curvature_of(name, module, draft, setting)
            target = draft.tensor(name).detach().clone()  # the draft's own is overwritten
            matrix, roots = target.cpu().reshape(len(target), -1), obs.inverse_roots(found.inputs)
            lam = self.price * setting.lam
            draft.set(name, scaled.quantise(matrix, found, lam, roots, ways.get(name, PLAIN)))
            draft.targets[name] = target

    def _ways(self, draft: Draft, setting: Setting, wanted: list[tuple[str, nn.Module]]) -> dict[str, Way]:
        """How tensors are rounded; found out again where λ is quite another, since only large errors tell."""
        span = math.floor(math.log2(setting.lam) / OCTAVES)
        key = (self, "ways", span)
        if key not in setting.memo:
            known = self.known(draft, setting)
            every = {name: self.curvature_of(name, module, draft, setting) for name, module in wanted}
            known = {name: known[name] for name, _ in wanted if name in known}
            # At the largest λ of the span, so that the order in which a search tries them does not matter.
            setting = replace(setting, lam=2.0 ** (OCTAVES * (span + 1)))
            lam = self.price * setting.lam
            likely = {}
            for name, found in every.items():
                matrix = draft.tensor(name).detach().cpu().flatten(1)
                likely[name] = scaled.likely(matrix, found, lam, obs.inverse_roots(found.inputs))

            def rounded(name: str, matrix: Tensor, way: Way) -> Quantised:
                found = known[name]
                return scaled.quantise(matrix, found, lam, obs.inverse_roots(found.inputs), way, passes=1)

            setting.memo[key] = exponents(draft, setting, known, likely, rounded)
        made: dict[str, Way] = setting.memo[key]
        return made

    def known(self, draft: Draft, setting: Setting) -> dict[str, Curvature]:
        """Curvatures by the tensor's name: those that were given, or those of this network on these inputs.

        They are measured when they are first asked for, and kept in the setting: a search over λ asks again and again.
        """
        if self.curvature is not None:
            return self.curvature
        if self not in setting.memo:
            setting.memo[self] = curvatures(
                draft.network,
                setting.inputs,
                setting.forward,
                softness=self.softness,
                seed=setting.seed,
                likelihood=setting.likelihood,
            )
        return self.measured(setting)

    def measured(self, setting: Setting) -> dict[str, Curvature]:
        """The same, but empty where nobody has asked for them yet."""
        found: dict[str, Curvature] = setting.memo.get(self, {}) if self.curvature is None else self.curvature
        return found

    def curvature_of(self, name: str, module: nn.Module, draft: Draft, setting: Setting) -> Curvature:
        """Of a weight by its name, or what is supposed where it is not known."""
        known = self.known(draft, setting).get(name)
        if known is not None:
            return known
        weight = draft.tensor(name).detach()
        total = sum(p.numel() for p in draft.network.parameters() if p.is_floating_point())
        inputs, outputs = without_data(weight, weight.numel() / max(1, total))
        return Curvature(inputs, outputs, outputs)


def without_data(weight: Tensor, share: float | None = None) -> tuple[Tensor, Tensor]:
    """A and G where nothing is known but the weight.

    With a share of the network's weights, that share of :data:`LOSS` nats is as if lost by rounding each row to
    :data:`SAFE` bits, or to steps of :data:`RELATIVE` of the root mean square if that is less: nearly every network
    stands that, and outliers do not make a layer coarse. Noise is equal relative to the size of a row. It was measured
    on networks with weights of their own (``benchmarks/any_trained.py``), for want of a theory.

    Without one, half a nat is as if lost with the whole of it: ΔL = ½ ‖W - Ŵ‖² / ‖W‖².

    Args:
        weight: ``[rows, ...]``.
        share: of the weights of the network, in (0, 1].
    """
    rows = len(weight)
    cols = weight[0].numel() if rows else 0
    inputs = torch.ones(1, cols, dtype=torch.float64)
    matrix = weight.detach().double().cpu().reshape(rows, -1)
    energy = matrix.square().sum().item()
    if not (energy > 0 and math.isfinite(energy)):
        return inputs, torch.ones(rows, dtype=torch.float64)
    if share is None:
        return inputs, torch.full((rows,), 1 / energy, dtype=torch.float64)
    steps = matrix.abs().amax(1) / (2 ** (SAFE - 1) - 1)
    noise = min(float(steps.square().sum()) * cols, RELATIVE**2 * energy) / 12
    size = matrix.square().mean(1).sqrt()
    rates = 1 / size.clamp_min(SMALL * float(size.max())).square()
    # At λ = 2 ln 2 · LOSS / N the noise of each entry is λ / (ln 2 · G_r), and their sum is that of rounding by row.
    return inputs, rates * float((1 / rates).mean()) * (2 * LOSS * share / noise)


class Offsets:
    """Biases and other vectors to integers: each to the nearest level of the step that its curvature asks for.

    Args:
        bits: precision of a vector whose curvature is not known: its root mean square is ``2^bits`` steps.
        quantise: of the same passes, which knows the curvatures.
    """

    def __init__(self, quantise: Quantise, *, bits: int = 11) -> None:
        self.quantise = quantise
        self.bits = bits

    def __call__(self, draft: Draft, setting: Setting) -> None:
        known = self._curvatures(draft, setting)
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
        measured = self.quantise.measured(setting)
        found = {
            name: h
            for name, one in measured.items()
            if one.inputs.numel() == 1 and (h := one.offset.mean().item()) > 0
        }
        for norm, layer in draft.norms.items():
            weight = measured.get(f"{layer}.weight")
            if weight is not None and (h := weight.offset.mean().item()) > 0:
                found[f"{norm}.bias"] = h
        return found
