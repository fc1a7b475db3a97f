"""Channels of a network that belong together, and networks without some of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from szilard.compression.channels.call import Walk, each
from szilard.compression.channels.layer_shapes import LayerShape, layer_shapes
from szilard.compression.channels.policy_match import kept_by
from szilard.compression.channels.tracing import Traced
from szilard.compression.channels.walking import walked
from szilard.compression.policies.policy import Policy
from szilard.errors import SzilardError, first_line, printable
from szilard.networks.evaluating import evaluating

NONE = -1  #: in place of a unit, for a channel that cannot be removed


@dataclass(frozen=True)
class Pool:
    """Units that are in the same places, so that only their number matters for the shapes of all layers.

    Attributes:
        name: of the first layer that makes them, with "/2" and so on for further pools of that layer.
        units: their numbers.
        layers: whose outputs they are, in order of call.
    """

    name: str
    units: tuple[int, ...]
    layers: tuple[str, ...]


@dataclass(frozen=True)
class Cut:
    """Units of one module: ``inputs`` and ``outputs`` hold the unit of each, or :data:`NONE`.

    They are None if no input or output can go.
    """

    inputs: tuple[int, ...] | None
    outputs: tuple[int, ...] | None


@dataclass(frozen=True, eq=False)
class ChannelUnits:
    """The units of a network: channels with everything that is tied to them.

    A unit is a set of channels that can only leave the network together: those that a residual sum adds, that a
    depthwise convolution passes on, that have the same place in all groups of a grouped convolution.

    Attributes:
        layers: every convolution and linear layer that is called once, in order of call.
        pools: by name, in the order of the layers.
        of_layer: pools of each layer's outputs; a pool of which a layer holds every unit n times is there n times.
        fixed: number of output channels of each layer that cannot be removed.
        whole: layers whose outputs all stay, and why, as half a sentence.
        producers: unit of each output channel, or -1, of the modules after which a channel is complete: the
            normalisation after a layer, or the layer if there is none.
        cuts: units of all modules that hold tensors or sizes by channel.
    """

    layers: dict[str, LayerShape]
    pools: dict[str, Pool]
    of_layer: dict[str, tuple[str, ...]]
    fixed: dict[str, int]
    whole: dict[str, str]
    producers: dict[str, tuple[int, ...]]
    cuts: dict[str, Cut]
    _inputs: Tensor = field(repr=False)

    @classmethod
    def of(cls, network: nn.Module, inputs: Tensor) -> ChannelUnits:
        """Find the units of a network.

        What cannot be traced or is not understood stays whole, and :attr:`whole` says why.

        Args:
            network: it is run in eval mode, and not changed.
            inputs: ``[B, ...]``, of which two are used.

        Raises:
            SzilardError: the network cannot be called on the inputs.
        """
        few = inputs[:2] if len(inputs) != 1 else torch.cat([inputs, inputs])
        with evaluating(network), torch.no_grad():
            try:
                layers, odd = layer_shapes(network, few)
            except Exception as error:
                raise SzilardError(
                    f"the network cannot be called on inputs of shape {tuple(few.shape)}: {first_line(error)}; give "
                    "inputs as the network takes them"
                ) from error
            try:
                walk = walked(Traced.of(network, few))
            except Exception as error:  # of a forward that has no static graph
                why = f"the network has no static graph ({printable(first_line(error), 200)})"
                names = [*layers, *odd]
                fixed = {name: shape.outputs for name, shape in layers.items()}
                pools: dict[str, tuple[str, ...]] = dict.fromkeys(layers, ())
                return cls(layers, {}, pools, fixed, dict.fromkeys(names, why), {}, {}, few)
        pools_found, of_layer, fixed, whole, producers, cuts = _found(walk, layers, odd)
        return cls(layers, pools_found, of_layer, fixed, whole, producers, cuts, few)

    @cached_property
    def reads(self) -> dict[str, tuple[int, dict[str, int]]]:
        """Number of inputs of each layer that always stay, and inputs for each unit of a pool."""
        pool_of = {unit: pool.name for pool in self.pools.values() for unit in pool.units}
        found = {}
        for name, shape in self.layers.items():
            inputs = self.cuts[name].inputs if name in self.cuts else None
            held = Counter(pool_of[unit] for unit in inputs or () if unit != NONE)
            each = {pool: count // len(self.pools[pool].units) for pool, count in held.items()}
            found[name] = (shape.inputs - sum(held.values()), each)
        return found

    def sizes(self, kept: Mapping[str, int]) -> dict[str, tuple[int, int]]:
        """Numbers of input and output channels (of a linear layer: features) of each layer.

        Args:
            kept: how many units of each pool stay; pools that are not in it stay whole.

        Raises:
            SzilardError: an unknown pool, or a number that it cannot keep.
        """
        for name, number in kept.items():
            most = len(self._pool(name).units)
            if not 0 <= number <= most:
                raise SzilardError(
                    f"{number} units of pool {printable(name)} cannot be kept, which has {most}; choose 0 to {most}"
                )
        full = {name: kept.get(name, len(pool.units)) for name, pool in self.pools.items()}
        return {
            name: (
                self.reads[name][0] + sum(n * full[pool] for pool, n in self.reads[name][1].items()),
                self.fixed[name] + sum(full[pool] for pool in self.of_layer[name]),
            )
            for name in self.layers
        }

    def kept_of(self, policy: Policy) -> dict[str, int]:
        """How many units of each pool a policy keeps.

        Raises:
            SzilardError: the policy is for another network, prunes a layer that has to stay whole, or gives tied layers
                different numbers; the message names the first layer.
        """
        return kept_by(
            policy,
            {name: shape.outputs for name, shape in self.layers.items()},
            self.of_layer,
            self.fixed,
            {name: len(pool.units) for name, pool in self.pools.items()},
            self.whole,
        )

    def _pool(self, name: str) -> Pool:
        if name not in self.pools:
            raise SzilardError(
                f"there is no pool {printable(name)} of channels; the pools are {', '.join(map(printable, self.pools))}"
            )
        return self.pools[name]


def _found(walk: Walk, layers: Mapping[str, LayerShape], odd: Mapping[str, str]) -> tuple[Any, ...]:
    """All other attributes of :class:`ChannelUnits`."""
    ties = walk.ties
    made = {name: walk.made[name] for name in layers if name in walk.made}
    numbers: dict[int, int] = {}  # of the units, by their set of channels
    for channels in made.values():
        for channel in channels:
            if ties.reason(channel) is None:
                numbers.setdefault(ties.find(channel), len(numbers))

    def units(channels: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(numbers.get(ties.find(channel), NONE) for channel in channels)

    places: dict[int, list[tuple[Any, int]]] = defaultdict(list)
    for number, found in enumerate(walk.found.values()):
        for part, marks in enumerate(each(found)):
            for unit, count in Counter(units(marks.channels)).items():
                places[unit].append(((number, part), count))
    groups: dict[Any, list[int]] = defaultdict(list)
    for unit in range(len(numbers)):
        groups[tuple(places[unit])].append(unit)
    pools: dict[str, Pool] = {}
    pool_of: dict[int, str] = {}
    for members in groups.values():
        makers = tuple(name for name, channels in made.items() if members[0] in units(channels))
        name, count = makers[0], 1
        while name in pools:
            count += 1
            name = f"{makers[0]}/{count}"
        pools[name] = Pool(name, tuple(members), makers)
        pool_of |= dict.fromkeys(members, name)
    of_layer: dict[str, tuple[str, ...]] = {}
    fixed, whole = {}, dict(odd)
    for name, shape in layers.items():
        outputs = units(made.get(name, ()))
        held = Counter(pool_of[unit] for unit in outputs if unit != NONE)
        of_layer[name] = tuple(pool for pool in pools for _ in range(held[pool] // len(pools[pool].units)))
        fixed[name] = shape.outputs - sum(held.values())
        if not held:
            whole[name] = next(
                (reason for channel in made.get(name, ()) if (reason := ties.reason(channel)) is not None),
                "it is not a module of the network's graph",
            )
    cuts = {
        name: Cut(
            None if place.inputs is None else units(place.inputs),
            None if place.outputs is None else units(place.outputs),
        )
        for name, place in walk.places.items()
    }
    producers = {name: units(channels) for name, channels in walk.complete.items()}
    return pools, of_layer, fixed, whole, producers, cuts
