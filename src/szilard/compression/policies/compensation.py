"""Channels that stay stand in for those that leave: least squares in the layers that read them.

A channel x_g that leaves is predicted from those that stay, x_s, at the same position,

    x_g ≈ μ_g + Σ_s M_gs (x_s - μ_s),        M = C_gs (C_ss + ρ)⁻¹,

with means μ and covariances C of what the layer reads in the original network. The weights of the layer that read x_g
are added to those that read x_s, in these proportions. After He, Zhang and Sun (2017), who fit whole kernels; here one
covariance of channels is measured once, and a policy costs one small linear system for each layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from szilard.compression.channels.units import ChannelUnits
from szilard.compression.outputs import call
from szilard.compression.policies.norm_statistics import gone_of
from szilard.networks.evaluating import evaluating

MOST = 2048  # channels of a layer; a covariance of more takes too long
RIDGE = 0.01  # ρ, as a share of the mean variance
_BATCH = 64

Reader = nn.Linear | nn.Conv1d | nn.Conv2d


@dataclass
class Inputs:
    """What a layer reads: sums over examples and positions.

    Attributes:
        count: of examples and positions.
        total: float64 ``[channels]``.
        square: float64 ``[channels, channels]``.
    """

    count: int
    total: Tensor
    square: Tensor

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and covariance."""
        mean = self.total / self.count
        return mean, self.square / self.count - mean.outer(mean)


@torch.no_grad()
def inputs_of(network: nn.Module, units: ChannelUnits, inputs: Tensor) -> dict[str, Inputs]:
    """Measure what the layers of the original network read, whose inputs can leave.

    Args:
        network: it runs in eval mode, and is not changed.
        units: of it.
        inputs: ``[N, ...]``.
    """
    found: dict[str, Inputs] = {}
    hooks: list[Any] = []
    for name, one in units.cuts.items():
        layer = network.get_submodule(name)
        if one.inputs is None or not _is_reader(layer) or len(one.inputs) > MOST:
            continue
        size = len(one.inputs)
        zeros = torch.zeros(size, dtype=torch.float64)
        found[name] = Inputs(0, zeros, torch.zeros(size, size, dtype=torch.float64))

        def see(layer: nn.Module, given: tuple[Tensor, ...], sums: Inputs = found[name]) -> None:
            x = given[0]
            axis = x.dim() - 1 if isinstance(layer, nn.Linear) else 1
            matrix = x.movedim(axis, 0).flatten(1)
            sums.count += matrix.shape[1]
            sums.total += matrix.sum(1, dtype=torch.float64)
            sums.square += (matrix @ matrix.T).double()

        hooks.append(layer.register_forward_pre_hook(see))
    try:
        with evaluating(network):
            for x in inputs.split(_BATCH) if hooks else ():
                call(network, x)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: sums for name, sums in found.items() if sums.count}


@torch.no_grad()
def compensate(
    small: nn.Module,
    network: nn.Module,
    units: ChannelUnits,
    kept: Mapping[str, Sequence[int]],
    read: Mapping[str, Inputs],
) -> None:
    """Change the weights of a smaller network in place, so that channels that stay stand in for those that left.

    Args:
        small: the network without channels.
        network: the original.
        units: of the original.
        kept: positions of the units that stay, by pool.
        read: :func:`inputs_of` of the original.
    """
    gone = gone_of(units, kept)
    there = dict(small.named_modules())
    for name, sums in read.items():
        inputs, layer = units.cuts[name].inputs, there.get(name)
        assert inputs is not None
        stays = torch.tensor([unit not in gone for unit in inputs])
        if not isinstance(layer, Reader) or bool(stays.all()) or not bool(stays.any()):
            continue
        outputs = units.cuts[name].outputs
        rows = torch.tensor([unit not in gone for unit in outputs]) if outputs is not None else slice(None)
        weight = network.get_submodule(name).weight
        assert isinstance(weight, Tensor)
        lost = weight.detach()[rows][:, ~stays].double()
        mean, covariance = sums.moments()
        own = covariance[stays][:, stays]
        own.diagonal().add_(RIDGE * own.diagonal().mean() + 1e-12)
        share = torch.linalg.solve(own, covariance[stays][:, ~stays])  # [stay, leave]
        layer.weight += torch.einsum("oi...,si->os...", lost, share).to(layer.weight)
        if layer.bias is not None:
            constant = mean[~stays] - share.T @ mean[stays]
            layer.bias += (lost.reshape(*lost.shape[:2], -1).sum(2) @ constant).to(layer.bias)


def _is_reader(layer: nn.Module) -> bool:
    return isinstance(layer, Reader) and getattr(layer, "groups", 1) == 1
