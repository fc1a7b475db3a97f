"""The pass that rounds biases and other vectors to integers."""

from __future__ import annotations

import math

from torch import Tensor, nn

from szilard.compression import sequential_rounding
from szilard.compression.draft import Draft, Setting
from szilard.compression.layers import last_matrix, tensors
from szilard.compression.no_data import sizes
from szilard.compression.passes.rounding import Quantise

FINEST = 20  # most bits of a vector
UNIT = 6  # bits by which a bias's step is below the size of a row


class QuantiseVectors:
    """Round biases and other vectors to the nearest level, with the step that follows from their curvature.

    Args:
        bits: precision of a vector whose curvature is not known: its root mean square is ``2^bits`` steps.
        quantise: the :class:`Quantise` of the same list of passes, which has the curvatures.
    """

    name = "quantise-vectors"
    summary = "Rounds biases and other vectors to integers"
    order = 10

    def __init__(self, quantise: Quantise, *, bits: int = 11) -> None:
        self.quantise = quantise
        self.bits = bits

    def __call__(self, draft: Draft, setting: Setting) -> None:
        known = setting.memo.get(self)
        if known is None:
            known = setting.memo[self] = self._curvatures(draft, setting)
        last = last_matrix(draft.network)
        for name, module, tensor in tensors(draft):
            if tensor.dim() != 1 or name in draft.quantised or name in draft.random:
                continue
            values = tensor.double().cpu()
            if bool((values == values[0]).all()):
                continue  # a constant costs nothing
            if name.endswith("running_var"):
                continue  # must stay positive; rare once BatchNorm is canonical
            size = values.square().mean().sqrt().item()
            h = known.get(name)
            if h is not None:
                step = math.sqrt(12 * setting.lam / (h * math.log(2)))
            else:
                units = f"{name.rpartition('.')[0]}.weight" == last
                step = min(size / 2**self.bits, _fine(module, name, units))
            code = round(16 * math.log2(min(step, size / 2)))
            if step < size / 2**FINEST or code < sequential_rounding.finest(values):
                continue  # exact bytes take no more space
            draft.set(name, sequential_rounding.nearest(values[None], code))

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


def _fine(module: nn.Module, name: str, units: bool) -> float:
    """A step of a bias that is small compared with its layer's outputs for unit inputs, in every row if ``units``.

    Infinite for other vectors.

    A bias can be large although outputs vary little, as in a regression far from zero.
    """
    weight = getattr(module, "weight", None)
    if name.rpartition(".")[2] != "bias" or not isinstance(weight, Tensor) or weight.dim() < 2:
        return math.inf
    squares, _ = sizes(weight.detach().cpu().reshape(len(weight), -1))
    seen = squares[squares > 0]
    if not len(seen):
        return math.inf
    return float((seen.min() if units else squares.mean()).sqrt()) / 2**UNIT
