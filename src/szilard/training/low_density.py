"""Warnings about a density that is too low: layers with units that have no input."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

from torch import nn

from szilard import bayes
from szilard.errors import SzilardWarning, shortened
from szilard.methods import Method

_PER_UNIT = 2  # entries per output unit below which a layer is too sparse
_ALIVE = 50  # entries from which a layer has enough, whatever its number of units
FEW = 500  # entries of all layers below which a network is too sparse


@dataclass(frozen=True)
class Layer:
    """A sparse weight.

    Attributes:
        units: rows of the weight, one for each output unit.
        entries, size: number of existing entries, and of all entries.
    """

    name: str
    units: int
    entries: int
    size: int


def layers(network: nn.Module) -> list[Layer]:
    """The sparse weights of a network."""
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
    """Warn before training if a layer has fewer entries than units, so that some units have no input.

    A wide layer over a few features can work without such units: there is no warning from 50 entries on.
    """
    if _density(method) >= 1:
        return
    bare = [layer for layer in layers(network) if layer.entries < min(layer.units, _ALIVE)]
    if not bare:
        return
    worst = min(bare, key=lambda layer: layer.entries / layer.units)
    others = f" ({len(bare) - 1} more layers are similar)" if len(bare) > 1 else ""
    warnings.warn(
        f"density {_density(method):g} leaves layer {shortened(worst.name, 60)!r} of {method.label} {worst.entries} "
        f"{'entries' if worst.entries > 1 else 'entry'} for {worst.units} units, so {worst.units - worst.entries} "
        f"or more units have no input{others}; choose a larger density, such as {enough(bare):g}",
        SzilardWarning,
        stacklevel=2,
    )


def advice(network: nn.Module, method: Method) -> str | None:
    """What can help a network that has learnt nothing, if its density may be the cause, else None."""
    found = layers(network)
    if _density(method) >= 1 or not found:
        return None
    thin = any(layer.entries < _PER_UNIT * layer.units for layer in found)
    left, size = (sum(getattr(layer, key) for layer in found) for key in ("entries", "size"))
    if not thin and left >= FEW:
        return None
    larger = min(1.0, max(enough(found), math.ceil(10 * min(1.0, 4 * _density(method)) - 1e-9) / 10))
    return (
        f"only {left:,} of the {size:,} weights of its sparse layers exist, so try a larger density, such as "
        f"{larger:g}"
    )


def _density(method: Method) -> float:
    return float(getattr(method, "density", 1.0))
