"""Estimated joules of a policy's network, from counted operations and bytes and published energies."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING

from torch import nn

from szilard.compression.policies.costs.policy_rows import policy_rows
from szilard.compression.policies.policy import LayerPolicy, Policy
from szilard.compression.policies.space import Space
from szilard.cost.energy import joules_of_products

if TYPE_CHECKING:
    from szilard.compression.channels.units import ChannelUnits

_INTEGERS = 8  # bits up to which a product is one of integers


class EnergyCost:
    """Estimated joules of one inference, for one example: convolutions and linear layers only.

    A product is one of integers if its weights and its inputs have at most 8 bits; fewer bits save bytes, not
    arithmetic. The energies are those of :func:`szilard.cost.joules` (45 nm; Horowitz, ISSCC 2014): use them to compare
    policies, not to predict a device.

    Args:
        units: the channels of the network.
    """

    unit = "joules"
    error_percent: float | None = None

    def __init__(self, units: ChannelUnits) -> None:
        self._units = units
        self.notes = [
            "joules are estimated from counted operations and bytes of convolutions and linear layers (Horowitz 2014, "
            "45 nm), and not measured"
        ]
        self.reference = self.predicted(
            Policy(tuple(LayerPolicy(name, shape.outputs) for name, shape in units.layers.items()))
        )

    def prepare(self, space: Space, progress: Callable[[int, int], None] | None = None) -> None:
        """Nothing has to be measured.

        Args:
            space: of policies.
            progress: is not called.
        """

    def predicted(self, policy: Policy) -> float:
        """Estimated joules of a policy's network."""
        macs = integers = moved = held = 0.0
        given = {layer.name: layer for layer in policy.layers}
        for name, row in policy_rows(self._units, policy).items():
            bits = given[name]
            if max(bits.weight_bits, bits.activation_bits) <= _INTEGERS:
                integers += row.macs
            else:
                macs += row.macs
            held += row.weights * bits.weight_bits / 8
            outputs = row.outputs * prod(row.positions_out)
            moved += (row.values + outputs) * bits.activation_bits / 8
        return joules_of_products(macs, integers, moved + held, held)

    def measured(self, network: nn.Module, policy: Policy) -> float:
        """The same: there is no meter of energy.

        Args:
            network: that the policy made; it is not used.
            policy: whose joules are estimated.
        """
        return self.predicted(policy)

    def observe(self, policy: Policy, value: float) -> None:
        """Nothing is corrected."""
