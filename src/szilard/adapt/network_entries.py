"""The random numbers of a Bayesian network as one vector: entries of weights, biases and all other parameters."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from szilard import bayes
from szilard.adapt.beliefs import WeightPrior
from szilard.bayes.groups import scales
from szilard.errors import SzilardError


@dataclass(frozen=True)
class Entry:
    """One parameter of a network.

    Attributes:
        name: of its values, or of its means.
        log_std: name of its ln σ; None if the network has none, as for a bias.
        shape: of its values.
    """

    name: str
    log_std: str | None
    shape: torch.Size


class NetworkEntries:
    """Where each trained parameter of a network is in a vector ``[n]``, with the prior of each number.

    The prior of an existing entry of a weight is that of its :class:`~szilard.bayes.Weight`. That of every other
    parameter is N(its present value, other_scale²).

    Args:
        network: from :func:`szilard.bayesianize`.
        other_scale: standard deviation of the prior of biases and other parameters without σ.

    Attributes:
        prior: of the n numbers, ``[1, n]``.
        mean: the network's own values, float64 ``[n]``; fits of forgotten beliefs start there.
        log_std: their ln σ, float64 ``[n]``.
        support: SHA-256 of all supports, uint8 ``[32]``.
    """

    def __init__(self, network: nn.Module, other_scale: float = 1.0) -> None:
        if scales(network):
            raise SzilardError(
                "the network has scales of groups, which are not Gaussian weights; make it with szilard.bayesianize"
            )
        if not (other_scale > 0 and math.isfinite(other_scale)):
            raise SzilardError(f"bias_scale must be positive and finite, not {other_scale:g}")
        weights = {
            name: module
            for name, module in network.named_modules()
            if isinstance(module, bayes.Weight) and not module.is_point and module.mean.requires_grad
        }
        if not weights:
            raise SzilardError(
                "the network has no Gaussian weights to learn; convert it with szilard.bayesianize"
            )
        widths = {f"{name}.log_std" for name in weights}
        self.entries: list[Entry] = []
        means, stds, starts, logs = [], [], [], []
        for name, parameter in network.named_parameters():
            if not parameter.requires_grad or name in widths:
                continue
            own = parameter.detach().double().cpu().numpy().reshape(-1)
            weight = weights.get(name.removesuffix(".mean"))
            self.entries.append(Entry(name, None if weight is None else f"{name.removesuffix('.mean')}.log_std",
                                      parameter.shape))  # fmt: skip
            starts.append(own)
            if weight is None:
                means.append(own)
                stds.append(np.full(own.shape, other_scale))
                logs.append(np.full(own.shape, math.log(0.1 * other_scale)))
            else:
                means.append(np.zeros_like(own))
                stds.append(np.full(own.shape, _scale(weight, name)))
                assert weight.log_std is not None
                logs.append(weight.log_std.detach().double().cpu().numpy())
        self.mean, self.log_std = np.concatenate(starts), np.concatenate(logs)
        self.prior = WeightPrior(np.concatenate(means)[None], np.concatenate(stds)[None] ** -2.0)
        self.support = _digest(network)

    def __len__(self) -> int:
        return len(self.mean)

    def drawn(self, values: Tensor) -> dict[str, Tensor]:
        """Parameters by name for one draw ``[n]`` of all numbers; layers use their means as values."""
        return {entry.name: part for entry, part in zip(self.entries, self._parts(values), strict=True)}

    def gaussian(self, mean: Tensor, log_std: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """Parameters by name: means and ln σ of weights, which their layers draw, and one draw of all others.

        Args:
            mean, log_std: ``[n]``.
            noise: standard normal, ``[n]``.
        """
        found = {}
        parts = zip(self.entries, self._parts(mean), self._parts(log_std), self._parts(noise), strict=True)
        for entry, middle, width, chance in parts:
            if entry.log_std is None:
                found[entry.name] = middle + width.exp() * chance
            else:
                found[entry.name], found[entry.log_std] = middle, width
        return found

    def _parts(self, vector: Tensor) -> Sequence[Tensor]:
        parts = vector.split([entry.shape.numel() for entry in self.entries])
        return [part.view(entry.shape) for part, entry in zip(parts, self.entries, strict=True)]


def _scale(weight: bayes.Weight, name: str) -> float:
    """Standard deviation of a weight's prior."""
    if isinstance(weight.prior, bayes.FixedPrior):
        return weight.prior.scale
    if isinstance(weight.prior, bayes.FanInPrior):
        return weight.prior.scale / math.sqrt(max(weight.fan_in, 1.0))
    raise SzilardError(
        f"the prior of {name.removesuffix('.mean')} is {type(weight.prior).__name__}, which is not one Gaussian; give "
        'szilard.bayesianize prior="fan-in" or "fixed"'
    )


def _digest(network: nn.Module) -> np.ndarray:
    found = hashlib.sha256()
    for module in network.modules():
        if isinstance(module, bayes.Weight):
            found.update(repr(tuple(module.support.shape)).encode())
            found.update(module.support.flat().cpu().numpy().tobytes())
    return np.frombuffer(found.digest(), dtype=np.uint8).copy()
