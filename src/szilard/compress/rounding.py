"""The pass that makes integers of weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from szilard.compress import obs, row_steps
from szilard.compress.curvature import Curvature, curvatures
from szilard.compress.draft import Draft, Setting
from szilard.compress.layers import tensors
from szilard.errors import SzilardError


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
        for name, module, weight in tensors(draft):
            if weight.dim() < 2 or name in draft.products:
                continue
            found = self.curvature_of(name, module, draft, setting)
            target = weight.clone()  # the draft's own is overwritten
            matrix = target.cpu().reshape(len(weight), -1)
            draft.set(name, row_steps.quantise(matrix, found, self.price * setting.lam))
            draft.targets[name] = target

    def known(self, draft: Draft, setting: Setting) -> dict[str, Curvature]:
        """Curvatures by the tensor's name: those that were given, or those of this network on these inputs.

        They are measured when they are first asked for, and kept in the setting: a search over λ asks again and again.
        """
        if self.curvature is not None:
            _check_names(self.curvature, draft.network)
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
        inputs, outputs = without_data(draft.tensor(name).detach())
        return Curvature(inputs, outputs, outputs)


def _check_names(given: dict[str, Curvature], network: nn.Module) -> None:
    """Refuse curvature of nothing."""
    odd = set(given) - {name for name, _ in network.named_parameters(remove_duplicate=False)}
    if odd:
        raise SzilardError(
            f"curvature is given for {min(odd)}, which is no parameter of the network; give it by the names of "
            'parameters, such as "0.weight"'
        )


def without_data(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A and G where nothing is known but the weight: as if half a nat were lost with the whole of it.

    Then ΔL = ½ ‖W - Ŵ‖² / ‖W‖²: noise counts by its share of the signal, in every layer alike.
    """
    rows = len(weight)
    cols = weight[0].numel() if rows else 0
    energy = weight.double().square().sum().item()
    h = 1 / energy if energy > 0 and math.isfinite(energy) else 1.0
    return torch.ones(1, cols, dtype=torch.float64), torch.full((rows,), h, dtype=torch.float64)


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
        found = {}
        for name, one in measured.items():
            h = one.offset.mean().item()
            if h > 0 and one.inputs.numel() == 1:
                found[name] = h
            elif h > 0 and name.rpartition(".")[2] == "weight":
                found.setdefault(name.removesuffix("weight") + "bias", h)
        for norm, layer in draft.norms.items():
            weight = measured.get(f"{layer}.weight")
            if weight is not None and (h := weight.offset.mean().item()) > 0:
                found[f"{norm}.bias"] = h
        return found
