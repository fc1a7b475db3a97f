"""Supports so small that a network cannot work: layers that leave units without an entry."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

from torch import nn

from szilard import bayes
from szilard.errors import SzilardWarning, shortened
from szilard.methods import Method

_PER_UNIT = 2  # entries for each output unit, below which a layer is thin
_ALIVE = 50  # entries, from which a layer carries enough, however many units it has beside
FEW = 500  # entries in all, below which a network is


@dataclass(frozen=True)
class Layer:
    """A weight on a support that moves.

    Attributes:
        units: rows of the weight, one an output.
        entries, size: those that exist, and all.
    """

    name: str
    units: int
    entries: int
    size: int


def layers(network: nn.Module) -> list[Layer]:
    """The weights of a network of which a part exists."""
    found = []
    for name, weight in bayes.weights(network).items():
        support = weight.support
        size = math.prod(support.shape)
        if support.nnz < size:
            found.append(Layer(name, support.shape[0], support.nnz, size))
    return found


def enough(found: list[Layer]) -> float:
    """A density that gives each unit of these layers two entries, rounded up to a tenth."""
    wanted = max(_PER_UNIT * layer.units / layer.size for layer in found)
    return min(1.0, math.ceil(10 * wanted - 1e-9) / 10)


def warn(network: nn.Module, method: Method) -> None:
    """Warn before training where a layer has fewer entries than units, so that some see no input whatever is learnt.

    A wide layer over a few features may have such units and does without them: nothing is said from 50 entries on.
    """
    if _density(method) >= 1:
        return
    bare = [layer for layer in layers(network) if layer.entries < min(layer.units, _ALIVE)]
    if not bare:
        return
    worst = min(bare, key=lambda layer: layer.entries / layer.units)
    others = f", and of {len(bare) - 1} more layers" if len(bare) > 1 else ""
    warnings.warn(
        f"density {_density(method):g} leaves layer {shortened(worst.name, 60)!r} of {method.label} {worst.entries} "
        f"{'entries' if worst.entries > 1 else 'entry'} for {worst.units} units, so that {worst.units - worst.entries} "
        f"of them or more see no input{others}; choose a larger density, such as {enough(bare):g}",
        SzilardWarning,
        stacklevel=2,
    )


def advice(network: nn.Module, method: Method) -> str | None:
    """What may help a network that has learnt nothing, if its density is to blame, else None."""
    found = layers(network)
    if _density(method) >= 1 or not found:
        return None
    thin = any(layer.entries < _PER_UNIT * layer.units for layer in found)
    left, size = (sum(getattr(layer, key) for layer in found) for key in ("entries", "size"))
    if not thin and left >= FEW:
        return None
    larger = min(1.0, max(enough(found), math.ceil(10 * min(1.0, 4 * _density(method)) - 1e-9) / 10))
    return f"only {left:,} of its {size:,} weights are left, so try a larger density, such as {larger:g}"


def _density(method: Method) -> float:
    return float(getattr(method, "density", 1.0))
