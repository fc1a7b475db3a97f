"""Channels of a network that belong together, and networks without some of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from szilard.compression.channels.branches import branches
from szilard.compression.channels.layer_shapes import LayerShape, check_layers, layer_shapes
from szilard.compression.channels.policy_match import kept_by
from szilard.compression.channels.pools import NONE, Grouped, Pool
from szilard.compression.channels.removal import Cut, Plan, Units, agree, without
from szilard.compression.channels.tracing import Traced
from szilard.compression.channels.walking import walked
from szilard.compression.policies.policy import Policy
from szilard.errors import SzilardError, first_line, printable
from szilard.networks import copied
from szilard.networks.evaluating import evaluating

_DIFFERS = "the network would compute something else without some of its channels"


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
    producers: dict[str, Units]
    cuts: dict[str, Cut]
    _plan: Plan | None = field(repr=False)
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
                fixed = {name: shape.outputs for name, shape in layers.items()}
                whole = dict.fromkeys(layers, why) | odd
                return cls(layers, {}, dict.fromkeys(layers, ()), fixed, whole, {}, {}, None, few)
            while True:  # until every pool can lose a unit
                found = Grouped(walk, layers, odd)
                parts = found.of_layer, found.fixed, found.whole, found.producers, found.cuts, found.plan
                units = cls(layers, found.pools, *parts, few)
                wrong = units._wrong(network)
                if not wrong:
                    return units._with_branches(network, walk.traced)
                for pool in wrong:
                    found.fix(pool, _DIFFERS)

    def smaller(self, network: nn.Module, kept: Mapping[str, Sequence[int]]) -> nn.Module:
        """A network without the units that are not kept, in eval mode; it can be trained.

        Its outputs are those of :meth:`masked`, which is checked on the inputs of :meth:`of`.

        Args:
            network: of this structure; it is not changed.
            kept: for each pool, the places in it of the units that stay, from 0. Other pools stay whole.

        Returns:
            a graph module with the submodules of the network, by the same names.

        Raises:
            SzilardError: unknown pools or places, a layer without channels, or other outputs.
        """
        gone = self._gone(network, kept)
        if self._plan is None:
            return copied(network).eval()
        small = self._plan.smaller(network, self.cuts, gone)
        if gone and not agree(self._without(network, gone), small, self._inputs):
            names = ", ".join(printable(name) for name in kept)
            raise SzilardError(
                f"the network without channels of {names} does not compute what it computes with zeros in their place; "
                "leave these pools whole"
            )
        return small

    def masked(self, network: nn.Module, kept: Mapping[str, Sequence[int]]) -> nn.Module:
        """A copy of the network, of the same class and shapes and in eval mode, with zeros for units that are not kept.

        Zero are the weights that make and read them, biases, and slope, shift and running mean of norms.

        Args:
            network: of this structure; it is not changed.
            kept: as in :meth:`smaller`.

        Raises:
            SzilardError: unknown pools or places, or a layer without channels.
        """
        return self._without(network, self._gone(network, kept))

    def _without(self, network: nn.Module, gone: set[int]) -> nn.Module:
        return without(network, self.cuts, gone, None if self._plan is None else self._plan.ended(gone))

    def _with_branches(self, network: nn.Module, traced: Traced) -> ChannelUnits:
        """The same, with the pools known that can lose all of their units."""
        assert self._plan is not None
        makers = {name: pool.layers for name, pool in self.pools.items()}
        found = branches(
            self._plan.graph, traced.modules, traced.values, self.reads, makers, self.of_layer, self.fixed
        )
        ends = {frozenset(self.pools[name].units): branch for name, branch in found.items()}
        units = replace(self, _plan=replace(self._plan, branches=ends))
        fit = {name for name in found if units._agrees(network, set(self.pools[name].units))}
        kept = {
            key: branch for key, branch in ends.items() if any(key == set(self.pools[n].units) for n in fit)
        }
        pools = {name: replace(pool, optional=name in fit) for name, pool in self.pools.items()}
        return replace(self, pools=pools, _plan=replace(self._plan, branches=kept))

    def _wrong(self, network: nn.Module) -> list[str]:
        """Pools that change the network's function when they lose one unit."""
        last = {name: {pool.units[-1]} for name, pool in self.pools.items() if len(pool.units) > 1}
        if self._agrees(network, set().union(*last.values())):
            return []
        return [name for name, gone in last.items() if not self._agrees(network, gone)] or list(last)

    def _agrees(self, network: nn.Module, gone: set[int]) -> bool:
        if self._plan is None or not gone:
            return True
        try:
            small = self._plan.smaller(network, self.cuts, gone)
            return agree(self._without(network, gone), small, self._inputs)
        except (SzilardError, RuntimeError, TypeError, ValueError, IndexError, AssertionError):
            return False

    def _gone(self, network: nn.Module, kept: Mapping[str, Sequence[int]]) -> set[int]:
        """Units that are not kept."""
        check_layers(network, self.layers)
        gone: set[int] = set()
        for name, places in kept.items():
            units = self._pool(name).units
            stay = [int(place) for place in places]
            if len(set(stay)) != len(stay) or not all(0 <= place < len(units) for place in stay):
                raise SzilardError(
                    f"pool {printable(name)} has places 0 to {len(units) - 1}, each once, and not {stay[:20]}"
                )
            gone |= set(units) - {units[place] for place in stay}
        return gone

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
            {name for name, pools in self.of_layer.items() if all(self.pools[one].optional for one in pools)},
            self._ends(),
        )

    def _ends(self) -> dict[str, str]:
        """The last layer of each branch that can go, with the layer whose channels decide whether it does."""
        known = {} if self._plan is None else self._plan.branches
        return {
            known[units].reader: pool.layers[0]
            for pool in self.pools.values()
            if pool.optional and (units := frozenset(pool.units)) in known
        }

    def _pool(self, name: str) -> Pool:
        if name not in self.pools:
            raise SzilardError(
                f"there is no pool {printable(name)} of channels; the pools are {', '.join(map(printable, self.pools))}"
            )
        return self.pools[name]
