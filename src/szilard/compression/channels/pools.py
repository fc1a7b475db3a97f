"""Numbers the units that a walk through a graph found, and puts those in the same places into pools."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx

from szilard.compression.channels.call import Found, Walk, each
from szilard.compression.channels.layer_shapes import LayerShape
from szilard.compression.channels.marks import Marks
from szilard.compression.channels.removal import Cut, Held, Plan, Units

NONE = -1  #: in place of a unit, for a channel that cannot be removed


@dataclass(frozen=True)
class Pool:
    """Units that are in the same places, so that only their number matters for the shapes of all layers.

    Attributes:
        name: of the first layer that makes them, with "/2" and so on for further pools of that layer.
        units: their numbers.
        layers: whose outputs they are, in order of call.
        optional: whether all of them can go, because a sum then has one branch less.
    """

    name: str
    units: tuple[int, ...]
    layers: tuple[str, ...]
    optional: bool = False


class Grouped:
    """Units and pools of a network.

    Attributes:
        walk: through its graph.
        pools: by name.
        of_layer: pools of each layer's outputs; one that a layer holds n times is there n times.
        fixed: number of outputs of each layer that stay.
        whole: why layers stay whole.
    """

    def __init__(self, walk: Walk, layers: Mapping[str, LayerShape], odd: Mapping[str, str]) -> None:
        self.walk = walk
        made = {name: walk.made[name] for name in layers if name in walk.made}
        self._numbers: dict[int, int] = {}  # of the units, by their set of channels
        for channels in made.values():
            for channel in channels:
                if walk.ties.reason(channel) is None:
                    self._numbers.setdefault(walk.ties.find(channel), len(self._numbers))
        outputs = {name: self._units(channels) for name, channels in made.items()}
        self.pools: dict[str, Pool] = {}
        for members in self._alike():
            makers = tuple(name for name, units in outputs.items() if members[0] in units)
            name, count = makers[0], 1
            while name in self.pools:
                count += 1
                name = f"{makers[0]}/{count}"
            self.pools[name] = Pool(name, members, makers)
        pool_of = {unit: pool.name for pool in self.pools.values() for unit in pool.units}
        self.of_layer: dict[str, tuple[str, ...]] = {}
        self.fixed: dict[str, int] = {}
        self.whole = dict(odd)
        for name, shape in layers.items():
            held = Counter(pool_of[unit] for unit in outputs.get(name, ()) if unit != NONE)
            self.of_layer[name] = tuple(
                pool for pool in self.pools for _ in range(held[pool] // len(self.pools[pool].units))
            )
            self.fixed[name] = shape.outputs - sum(held.values())
            if not held:
                reasons = map(walk.ties.reason, made.get(name, ()))
                self.whole[name] = next(filter(None, reasons), "it is not a module of the network's graph")

    def fix(self, pool: str, reason: str) -> None:
        """Keep all channels of a pool; a new object of this class does not have it any more."""
        units = set(self.pools[pool].units)
        self.walk.ties.fix([channel for channel, number in self._numbers.items() if number in units], reason)

    @property
    def cuts(self) -> dict[str, Cut]:
        """Units of all modules that hold tensors or sizes by channel."""
        return {
            name: Cut(
                None if place.inputs is None else self._units(place.inputs),
                None if place.outputs is None else self._units(place.outputs),
            )
            for name, place in self.walk.places.items()
        }

    @property
    def producers(self) -> dict[str, Units]:
        """Unit of each output channel of the modules after which a channel is complete."""
        return {name: self._units(channels) for name, channels in self.walk.complete.items()}

    @property
    def plan(self) -> Plan:
        """Where the units are in the graph."""
        traced = self.walk.traced

        def number(node: fx.Node) -> Any:
            value = traced.values[node]
            return node if isinstance(value, Tensor | tuple | list) else value

        args = {node: fx.map_arg(node.args, number) for node in traced.graph.nodes}
        held = {node: self._held(found, traced.values[node]) for node, found in self.walk.found.items()}
        return Plan(traced.graph, args, held)

    def _held(self, found: Found, value: Any) -> Any:
        if isinstance(found, Marks):
            return Held(tuple(value.shape), found.axis, self._units(found.channels))
        return [self._held(one, part) for one, part in zip(found, value, strict=False)] if found else None

    def _units(self, channels: tuple[int, ...]) -> Units:
        return tuple(self._numbers.get(self.walk.ties.find(channel), NONE) for channel in channels)

    def _alike(self) -> list[Units]:
        """Units that are in the same tensors, equally often."""
        places: dict[int, list[Any]] = defaultdict(list)
        for number, found in enumerate(self.walk.found.values()):
            for part, marks in enumerate(each(found)):
                for unit, count in Counter(self._units(marks.channels)).items():
                    places[unit].append((number, part, count))
        groups: dict[Any, list[int]] = defaultdict(list)
        for unit in range(len(self._numbers)):
            groups[tuple(places[unit])].append(unit)
        return [tuple(members) for members in groups.values()]
