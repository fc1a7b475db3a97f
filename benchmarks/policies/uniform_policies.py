"""Policies without a search: every pool keeps the same share of its channels, all layers in float32 or in integers."""

from __future__ import annotations

from collections.abc import Sequence

from szilard.compression.channels.units import ChannelUnits
from szilard.compression.policies.policy import FLOAT, LayerPolicy, Policy

INTEGERS = (8, 8)  #: bits of weights and of inputs
FLOATS = (FLOAT, FLOAT)


def kept(units: ChannelUnits, share: float) -> dict[str, int]:
    """How many channels of each pool stay, at least one."""
    return {name: max(1, round(share * len(pool.units))) for name, pool in units.pools.items()}


def policy(units: ChannelUnits, share: float, bits: tuple[int, int] = FLOATS) -> Policy:
    """The uniform policy of a share."""
    sizes = units.sizes(kept(units, share))
    return Policy(tuple(LayerPolicy(name, outputs, *bits) for name, (_, outputs) in sizes.items()))


def shares(steps: int) -> list[float]:
    """Shares from nearly all to few."""
    return [step / steps for step in range(steps - 1, 0, -1)]


def largest(ratios: Sequence[tuple[float, float]], target: float) -> float:
    """The largest share whose measured ratio meets the target, or the fastest one if none does.

    Args:
        ratios: pairs of a share and the measured latency of its network, as a share of the original's.
        target: largest allowed ratio.
    """
    fits = [share for share, ratio in ratios if ratio <= target]
    return max(fits) if fits else min(ratios, key=lambda pair: pair[1])[0]
