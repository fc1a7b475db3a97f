"""The network that a policy describes: smaller, with rounded layers, and BatchNorms that know its activations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from szilard.compression.channels.units import ChannelUnits
from szilard.compression.policies import norm_statistics
from szilard.compression.policies.compensation import Inputs, compensate, inputs_of
from szilard.compression.policies.divergence import between, kl, likelihood_of, outputs_of
from szilard.compression.policies.integers import measuring, with_integers
from szilard.compression.policies.norm_statistics import Seen
from szilard.compression.policies.policy import FLOAT, Policy
from szilard.likelihood import Likelihood
from szilard.networks import copied
from szilard.networks.evaluating import evaluating


def apply(
    network: nn.Module, units: ChannelUnits, ranks: Mapping[str, Tensor], policy: Policy, inputs: Tensor
) -> nn.Module:
    """Apply a policy, without training.

    The most important units of each pool stay. BatchNorms get the statistics of the compressed network on the inputs,
    relative to the original's (:mod:`szilard.compression.policies.norm_statistics`). Layers with fewer than 32 bits are
    rounded, straight-through (:mod:`szilard.compression.policies.integers`), with ranges from the inputs. For many
    policies of one network use :class:`PolicyEffect`, which measures the original once.

    Args:
        network: the original; it is not changed.
        units: of the original.
        ranks: importance of the units of each pool (:func:`szilard.compression.policies.importance.rank`).
        policy: to apply.
        inputs: ``[N, ...]``, two or more, without labels.

    Returns:
        a network in eval mode.

    Raises:
        SzilardError: the policy does not fit the network; the message names the first layer that differs.
    """
    return PolicyEffect(network, units, ranks, inputs).apply(policy)


class PolicyEffect:
    """What policies do to one network, measured on one set of inputs.

    Args:
        network, units, ranks, inputs: as of :func:`apply`.
        likelihood: of the outputs; None: seen from the original's.

    Attributes:
        outputs: of the original, ``[N, ...]``.
        likelihood: of the outputs.
    """

    def __init__(
        self,
        network: nn.Module,
        units: ChannelUnits,
        ranks: Mapping[str, Tensor],
        inputs: Tensor,
        likelihood: Likelihood | None = None,
    ) -> None:
        self.network, self.units, self.ranks, self.inputs = network, units, ranks, inputs
        with evaluating(network):
            self.outputs = outputs_of(network, inputs)
        self.likelihood = likelihood or likelihood_of(self.outputs)
        self._seen: Seen | None = None
        self._read: Mapping[str, Inputs] | None = None

    def apply(self, policy: Policy) -> nn.Module:
        """The network of a policy, as :func:`apply`."""
        return self._applied(policy)[0]

    def kl(self, policy: Policy) -> float:
        """KL(original ‖ network of a policy) on the inputs, nats per example."""
        network, outputs = self._applied(policy)
        if outputs is not None:
            return between(self.outputs, outputs, self.likelihood)
        return kl(self.outputs, network, self.inputs, self.likelihood)

    @torch.no_grad()
    def _applied(self, policy: Policy) -> tuple[nn.Module, Tensor | None]:
        """The network, and its outputs if they are known."""
        kept, bits = positions_kept(self.units, self.ranks, policy), bits_of(policy)
        small = self._smaller(kept) if kept else copied(self.network).eval()
        there = dict(small.named_modules())
        bits = {name: both for name, both in bits.items() if isinstance(there.get(name), nn.Linear | _ConvNd)}
        if bits:
            small = with_integers(small, bits, None).eval()
        stored = any(activations == FLOAT for _, activations in bits.values())
        rounds = any(activations < FLOAT for _, activations in bits.values())
        outputs: Tensor | None = None
        with measuring(small):
            if kept or stored:
                outputs = self._follow(small, kept)
            elif rounds:
                outputs_of(small, self.inputs)
        known = not rounds and len(norm_statistics.batches_of(self.inputs)) == 1
        return small, outputs if known else None

    def _follow(self, small: nn.Module, kept: Mapping[str, Sequence[int]]) -> Tensor:
        if self._seen is None:
            self._seen = norm_statistics.seen(self.network, self.inputs)
        rows = norm_statistics.rows_of(self.units, kept)
        return norm_statistics.follow(small, self._seen, rows, self.inputs)

    def _smaller(self, kept: Mapping[str, Sequence[int]]) -> nn.Module:
        small = self.units.smaller(self.network, kept).eval()
        if self._read is None:
            self._read = inputs_of(self.network, self.units, self.inputs)
        compensate(small, self.network, self.units, kept, self._read)
        return small


def positions_kept(
    units: ChannelUnits, ranks: Mapping[str, Tensor], policy: Policy
) -> dict[str, Sequence[int]]:
    """Positions in each pool of the units that stay, in their order; pools that stay whole are left out."""
    found: dict[str, Sequence[int]] = {}
    for name, count in units.kept_of(policy).items():
        if count < len(units.pools[name].units):
            found[name] = sorted(ranks[name].argsort(descending=True, stable=True)[:count].tolist())
    return found


def bits_of(policy: Policy) -> dict[str, tuple[int, int]]:
    """Bits of the weights and inputs of the layers that are rounded, by name."""
    return {
        layer.name: (layer.weight_bits, layer.activation_bits)
        for layer in policy.layers
        if (layer.weight_bits, layer.activation_bits) != (FLOAT, FLOAT)
    }
