"""The network that a policy describes: smaller, with rounded layers, and BatchNorms that know its activations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from szilard.bayes import reestimate_batchnorm
from szilard.compression.channels.units import ChannelUnits
from szilard.compression.policies.integers import with_integers
from szilard.compression.policies.policy import FLOAT, Policy
from szilard.networks import copied


def apply(
    network: nn.Module, units: ChannelUnits, ranks: Mapping[str, Tensor], policy: Policy, inputs: Tensor
) -> nn.Module:
    """Apply a policy, without training.

    The most important units of each pool stay. If channels are gone, the BatchNorms get the statistics of the smaller
    network on the inputs, as one batch. Layers with fewer than 32 bits are rounded, straight-through
    (:mod:`szilard.compression.policies.integers`), with ranges from the inputs.

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
    kept = positions_kept(units, ranks, policy)
    small = units.smaller(network, kept) if kept else copied(network)
    small.eval()
    if kept:
        reestimate_batchnorm(small, [(inputs, inputs)])
    there = dict(small.named_modules())  # without layers that have no channels
    bits = {name: given for name, given in bits_of(policy).items() if name in there}
    return with_integers(small, bits, inputs).eval() if bits else small


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
