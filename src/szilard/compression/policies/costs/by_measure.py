"""The cost of each measure, and the bits that it lets a search choose from."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from szilard.compression.channels.units import ChannelUnits
from szilard.compression.policies.checked import Given
from szilard.compression.policies.costs.base import Cost
from szilard.compression.policies.costs.energy import EnergyCost
from szilard.compression.policies.costs.file_bytes import BytesCost
from szilard.compression.policies.costs.latency import LatencyCost
from szilard.compression.policies.costs.own_function import OwnCost
from szilard.compression.policies.options import FILE_BITS, FLOAT_BITS, RUNTIME_BITS, Bits
from szilard.compression.policies.policy import Policy
from szilard.likelihood import Likelihood


def bits_of(given: Given) -> tuple[Bits, ...]:
    """Options of a layer: those of the runtime, or of the file; a user's function sees networks of floats."""
    if given.measure == "bytes":
        return FILE_BITS
    return FLOAT_BITS if callable(given.measure) else RUNTIME_BITS


def cost_of(
    given: Given, units: ChannelUnits, likelihood: Likelihood, code: Callable[[nn.Module, Policy], bytes]
) -> Cost:
    """What the target is about.

    Args:
        given: the user's arguments.
        units: of the network.
        likelihood: of its outputs.
        code: makes the ``.szd`` file of a small network under a policy.
    """
    if callable(given.measure):
        return OwnCost(given.measure, given.network, units)
    if given.measure == "energy":
        return EnergyCost(units)
    if given.measure == "bytes":
        return BytesCost(given.network, units, code)
    return LatencyCost(
        given.network, given.inputs, units, threads=given.threads, table_path=given.table, noisy=given.noisy,
        seed=given.seed, task=likelihood, predicts=given.policy is None,
    )  # fmt: skip
