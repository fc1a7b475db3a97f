"""Removes tied channels that are zero everywhere from a network, whose class and forward stay."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from szilard.compression.channels.constants import dead_units
from szilard.compression.channels.cutting import cut
from szilard.compression.channels.layer_shapes import layer_shapes
from szilard.compression.channels.pools import Grouped, Pool
from szilard.compression.channels.removal import stays
from szilard.compression.channels.tracing import Traced
from szilard.compression.channels.walking import walked
from szilard.compression.module_state import ModuleState
from szilard.compression.probe import Probe
from szilard.errors import SzilardWarning, printable


@dataclass(eq=False)
class _Dead:
    """Units that are zero, by pool, and where they are."""

    found: Grouped
    units: dict[str, set[int]]

    @classmethod
    def of(cls, network: nn.Module, x: Tensor) -> _Dead:
        """The dead units of a network in eval mode; of a pool whose units are all dead, one may have to stay."""
        with torch.no_grad():
            found = Grouped(walked(Traced.of(network, x)), *layer_shapes(network, x))
        dead = dead_units(network, found.plan, found.cuts, found.producers, x)
        by_pool = {name: dead & set(pool.units) for name, pool in found.pools.items()}
        return cls(found, {name: units for name, units in by_pool.items() if units})

    def leave_one(self) -> None:
        """Keep one unit of each pool without which a layer would be empty."""
        for one in self.found.cuts.values():
            for held in (one.inputs, one.outputs):
                if held is None or not set(held) <= self.gone:
                    continue
                pool = next(name for name, units in self.units.items() if held[0] in units)
                self.units[pool] = self.units[pool] - {held[0]}

    @property
    def gone(self) -> set[int]:
        return set().union(*self.units.values())


def remove_tied(network: nn.Module, probe: Probe, kept: set[str]) -> int:
    """Remove channels that are zero in all layers that make them, with everything that is tied to them, in place.

    Pools for which the forward's own constants would have to change stay, with a warning, and so do those for which
    the outputs would change.

    Args:
        network: in eval mode.
        probe: of its outputs.
        kept: names of pools that stay; it grows by those that were tried or named in a warning.

    Returns:
        how many units were removed.
    """
    x = probe.inputs[0]
    if not isinstance(x, Tensor) or x.dim() < 2 or not _any_zero(network):
        return 0
    x = x[:2] if len(x) > 1 else torch.cat([x, x])
    removed, together = 0, True
    while True:
        try:
            dead = _Dead.of(network, x)
        except Exception:  # of a forward that has no such graph
            return removed
        for name in list(dead.units):
            if name in kept:
                del dead.units[name]
            elif dead.found.plan.changes_constants(network, dead.units[name]):
                kept.add(name)
                del dead.units[name]
                _warn(f"dead channels of {_shown(dead.found.pools[name])} stay, because their number is a constant in "
                      "the network's forward")  # fmt: skip
        dead.leave_one()
        if not together:
            dead.units = dict(list(dead.units.items())[:1])
        if not dead.gone:
            return removed
        if _removed(network, dead, probe):
            removed += len(dead.gone)
        elif together and len(dead.units) > 1:
            together = False
        else:
            for name in dead.units:
                kept.add(name)
                _warn(f"dead channels of {_shown(dead.found.pools[name])} stay, because the network's outputs would "
                      "change without them")  # fmt: skip


def _any_zero(network: nn.Module) -> bool:
    """Whether some layer or norm has an output whose weights and bias are zero."""
    for module in network.modules():
        if isinstance(module, nn.Linear | _ConvNd | _BatchNorm) and isinstance(module.weight, Tensor):
            zero = (
                module.weight.detach().flatten(1).eq(0).all(1)
                if module.weight.dim() > 1
                else module.weight == 0
            )
            if bool((zero if module.bias is None else zero & (module.bias == 0)).any()):
                return True
    return False


def _removed(network: nn.Module, dead: _Dead, probe: Probe) -> bool:
    """Remove units; restores the network and returns False if its outputs change."""
    modules = dict(network.named_modules(remove_duplicate=False))
    cuts = {
        name: one
        for name, one in dead.found.cuts.items()
        if dead.gone & {*(one.inputs or ()), *(one.outputs or ())}
    }
    saved = [ModuleState(modules[name]) for name in cuts]
    for name, one in cuts.items():
        cut(modules[name], *stays(one, dead.gone, modules, name))
    if probe.agrees(network):
        return True
    for state in saved:
        state.restore()
    return False


def _shown(pool: Pool) -> str:
    more = f" and {len(pool.layers) - 1} tied layers" if len(pool.layers) > 1 else ""
    return printable(pool.layers[0]) + more


def _warn(text: str) -> None:
    warnings.warn(text, SzilardWarning, stacklevel=4)
