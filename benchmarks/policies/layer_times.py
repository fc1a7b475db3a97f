"""What bounds latency: times of layers by channels and bits, of uniform policies, and of nearly empty networks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from common.harness import progress
from policies import compiled_networks, timing
from policies.uniform_policies import FLOATS, INTEGERS, policy, shares
from szilard.compression.channels.units import ChannelUnits
from szilard.compression.policies.costs.latency_table import LatencyTable
from szilard.compression.policies.costs.meter import Meter
from szilard.compression.policies.costs.policy_rows import first_layer, policy_rows, space_rows
from szilard.compression.policies.options import RUNTIME_BITS, space_of

#: Columns of the table of layers: shares of the channels, and bits.
KINDS = {"all": (1.0, FLOATS), "half": (0.5, FLOATS), "quarter": (0.25, FLOATS), "int8": (1.0, INTEGERS)}
EMPTY, EMPTY_INT8, CALL = "one channel in every pool", "the same in int8", "one ReLU"


@dataclass(frozen=True)
class _Run:
    """A session with the face that :func:`timing.timed` takes."""

    run: Any


def by_layer(network: nn.Module, inputs: Tensor, table: Path) -> list[dict[str, Any]]:
    """Milliseconds of layers by kind, a row for all layers of one shape, in the order of their calls.

    Args:
        network: in eval mode.
        inputs: ``[N, ...]``.
        table: file of the table of latencies; rows that are missing are measured.
    """
    units = ChannelUnits.of(network, inputs)
    rows = LatencyTable(threads=1, path=table, measure=Meter(threads=1, noisy=True, brief=True))
    first = first_layer(units, network, inputs[:1])
    kinds = {
        kind: policy_rows(units, policy(units, share, bits), first) for kind, (share, bits) in KINDS.items()
    }
    rows.prepare(row for layers in kinds.values() for row in layers.values())
    # Those of all policies, too: several processes search later, and each would measure them.
    space = space_of(units, RUNTIME_BITS, branches=True)
    rows.prepare(space_rows(space, lambda one: policy_rows(units, one, first)))
    found: dict[str, dict[str, Any]] = {}
    for name, shape in units.layers.items():
        of_kind = {kind: layers[name] for kind, layers in kinds.items()}
        key = of_kind["all"].key
        if key in found:
            found[key]["layers"].append(name)
            continue
        found[key] = {
            "layers": [name],
            "sizes": [shape.inputs, shape.outputs],
            "kernel": list(shape.kernel),
            "positions": list(shape.positions_out),
            "macs": shape.macs,
            **{kind: 1e3 * rows.seconds(row) for kind, row in of_kind.items()},
        }
    return list(found.values())


def of_networks(
    network: nn.Module, inputs: Tensor, steps: int, seconds: float, *, integers: bool = True
) -> dict[str, Any]:
    """Latency of the original, of uniform policies, and of networks with nearly no channels, all beside each other.

    Args:
        network: in eval mode.
        inputs: ``[N, ...]``.
        steps: number of shares.
        seconds: for which they take turns at least.
        integers: measure uniform policies in int8, too.

    Returns:
        ``uniform``: rows with a share, its ratio in float32 and, or None, in int8; ``int8``: ratio of all channels in
        int8; ``empty``: milliseconds and ratio of what has nearly no channels; ``noise``.
    """
    units = ChannelUnits.of(network, inputs)
    made: dict[str, Any] = {timing.ORIGINAL: compiled_networks.original(network, inputs)}
    keys = [(1.0, INTEGERS), *((share, FLOATS) for share in shares(steps))]
    keys += [(share, INTEGERS) for share in shares(steps) if integers]
    for share, bits in keys:
        made[_key(share, bits)] = compiled_networks.uniform(network, units, inputs, share, bits)
    for name, bits in ((EMPTY, FLOATS), (EMPTY_INT8, INTEGERS)):
        made[name] = compiled_networks.uniform(network, units, inputs, 0.0, bits)
    made[CALL] = _Run(compiled_networks.one_operation(inputs))
    progress(f"{len(made)} networks are compiled")
    found = timing.timed(made, inputs[:1], seconds)
    return {
        "uniform": [
            {
                "share": share,
                "float32": found[_key(share, FLOATS)]["ratio"],
                "int8": found[_key(share, INTEGERS)]["ratio"] if integers else None,
            }
            for share in shares(steps)
        ],
        "int8": found[_key(1.0, INTEGERS)]["ratio"],
        "empty": [
            {"network": name, "ms": found[name]["ms"], "ratio": found[name]["ratio"]}
            for name in (EMPTY, EMPTY_INT8, CALL)
        ],
        "original_ms": found[timing.ORIGINAL]["ms"],
        "noise": found[timing.ORIGINAL]["noise"],
    }


def _key(share: float, bits: tuple[int, int]) -> str:
    return f"{share:g} of the channels, {bits[0]} bits"
