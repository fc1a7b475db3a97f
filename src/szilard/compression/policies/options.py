"""The options of a search: how many channels of each pool stay, and the bits that a runtime or a file has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from szilard.compression.channels.units import ChannelUnits, LayerShape
from szilard.compression.policies.policy import FLOAT
from szilard.compression.policies.space import Decision, Space
from szilard.errors import SzilardError

Bits = tuple[int, int]

#: Of ONNX Runtime on processors: a layer is float32, or its weights and inputs are 8-bit integers.
RUNTIME_BITS: tuple[Bits, ...] = ((FLOAT, FLOAT), (8, 8))
#: Of a file: only weights are rounded.
FILE_BITS: tuple[Bits, ...] = (
    (FLOAT, FLOAT),
    (8, FLOAT),
    (6, FLOAT),
    (5, FLOAT),
    (4, FLOAT),
    (3, FLOAT),
    (2, FLOAT),
)
FLOAT_BITS: tuple[Bits, ...] = ((FLOAT, FLOAT),)
STEPS = {
    32: 4,
    1 << 30: 8,
}  # options for the channels of a pool, by the largest size that has them: all, 3/4, ...


def space_of(units: ChannelUnits, bits: Sequence[Bits] = FLOAT_BITS, *, branches: bool = True) -> Space:
    """The policies of a network.

    A pool keeps all of its channels, or fewer in equal steps; the branch of a residual sum can lose all.

    Args:
        units: of the network.
        bits: options of every layer, the first leaves it in floating point.
        branches: whether branches of residual sums can go as a whole.

    Raises:
        SzilardError: the network has nothing to choose.
    """
    decisions = []
    for pool in units.pools.values():
        size = len(pool.units)
        steps = next(count for most, count in STEPS.items() if size <= most)
        kept = [-(-size * step // steps) for step in range(steps, 0, -1)]  # rounded up
        if branches and pool.optional:
            kept.append(0)
        options = tuple(dict.fromkeys(kept))
        if len(options) > 1:
            decisions.append(Decision(pool.name, "channels", pool.layers, options))
    if len(bits) > 1:
        decisions += [Decision(name, "bits", (name,), tuple(bits)) for name in units.layers]
    if not decisions:
        reasons = [f"{name} stays whole, because {why}" for name, why in list(units.whole.items())[:3]]
        raise SzilardError(
            "no layer of the network can lose channels or bits: "
            + ("; ".join(reasons) or "it has no convolution and no linear layer that is called once")
        )
    order = {name: number for number, name in enumerate(units.layers)}
    decisions.sort(key=lambda one: (order[one.layers[0]], one.kind == "bits"))
    chosen = {decision.name for decision in decisions if decision.kind == "channels"}
    fixed = {
        name: units.fixed.get(name, 0)
        + sum(len(units.pools[pool].units) for pool in units.of_layer[name] if pool not in chosen)
        for name in units.layers
    }
    pools = {name: tuple(pool for pool in units.of_layer[name] if pool in chosen) for name in units.layers}
    return Space(tuple(decisions), pools, fixed)


def features_of(space: Space, layers: Mapping[str, LayerShape]) -> list[dict[str, float]]:
    """Numbers that describe the first layer of each decision, for searchers that learn from them."""
    found = []
    for decision in space.decisions:
        shape = layers[decision.layers[0]]
        found.append(
            {
                "macs": float(sum(layers[name].macs for name in decision.layers)),
                "outputs": float(shape.outputs),
                "inputs": float(shape.inputs),
                "kernel": float(shape.kernel[0]) if shape.kernel else 1.0,
                "stride": float(shape.stride[0]) if shape.stride else 1.0,
                "parameters": float(sum(layers[name].parameters for name in decision.layers)),
            }
        )
    return found
