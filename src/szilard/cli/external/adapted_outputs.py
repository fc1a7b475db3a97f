"""Outputs of an external network in the form that methods expect: logits by class, or a mean with its noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from szilard.compression.outputs import judged_output
from szilard.data import DataSet
from szilard.model.saved_network import SavedNetwork
from szilard.networks import WithNoise
from szilard.networks.evaluating import evaluating
from szilard.networks.float_type import cast

_LEAST = 1e-7  # probability, of which a logit is taken
SAME = "same"


def _one_logit(output: Tensor) -> Tensor:
    z = output.reshape(len(output), 1)
    return torch.cat([torch.zeros_like(z), z], 1)


def _one_probability(output: Tensor) -> Tensor:
    return _one_logit(torch.logit(output.float(), _LEAST))


def _probabilities(output: Tensor) -> Tensor:
    return output.flatten(1).float().clamp_min(1e-30).log()


#: Kinds of outputs that can be turned into logits ``[B, C]`` or values ``[B, 1]``.
KINDS: dict[str, Callable[[Tensor], Tensor]] = {
    SAME: lambda output: output,
    "flat": lambda output: output.reshape(len(output), -1),
    "one logit": _one_logit,
    "one probability": _one_probability,
    "probabilities": _probabilities,
}


class AdaptedOutputs(nn.Module):
    """A network whose outputs have the form that methods and metrics expect, in float32.

    Inputs are cast to the floating type of the network, such as float16.

    Args:
        network: returns a tensor, or something in which :func:`szilard.compression.outputs.judged_output` finds one.
        kind: of :data:`KINDS`.
    """

    def __init__(self, network: nn.Module, kind: str) -> None:
        super().__init__()
        self.network, self.kind = network, kind

    def forward(self, x: Tensor) -> Tensor:
        return KINDS[self.kind](judged_output(self.network(cast(self.network, x))).float())


@torch.no_grad()
def output_kind(network: nn.Module, data: DataSet) -> str:
    """The kind of a network's outputs, found from those to the validation split.

    Outputs of an unknown kind stay as they are, and :func:`szilard.networks.check_fits` says why they do not fit.
    """
    try:
        with evaluating(network):
            output: Any = judged_output(network(cast(network, data.valid.x[:1024]))).cpu()
    except Exception:  # whatever the network's code raises; check_fits reports it
        return SAME
    if output.dim() == 0 or not output.is_floating_point() or len(output) != len(data.valid.x[:1024]):
        return SAME
    return _kind(output.reshape(len(output), -1), data, flat=output.dim() == 2)


def _kind(output: Tensor, data: DataSet, *, flat: bool) -> str:
    entries = output.shape[1]
    within = bool(((output >= 0) & (output <= 1)).all())
    if data.target_type.has_classes and entries == 1 and data.n_outputs == 2:
        return "one probability" if within else "one logit"
    classes = data.target_type.has_classes and entries == data.n_outputs
    if classes and within and bool(((output.float().sum(1) - 1).abs() < 1e-2).all()):
        return "probabilities"
    known = classes or (data.target_type.in_units and entries in (1, 2))
    return "flat" if known and not flat else SAME


def for_method(found: SavedNetwork) -> nn.Module:
    """A saved network with the outputs that its method expects.

    The file of a compressed external network says of which kind its outputs are.
    """
    network = AdaptedOutputs(found.network, found.answers) if found.answers in KINDS else found.network
    if found.noise is not None and not isinstance(network, WithNoise):
        return WithNoise(network, math.log(found.noise))
    return network
