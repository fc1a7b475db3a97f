"""Which entries of a weight exist, and products with such weights."""

from typing import Any

from szilard import _moved
from szilard.sparse.allocation import allocate, by_flops, check_density, erdos_renyi_kernel, uniform
from szilard.sparse.block import Block
from szilard.sparse.fan_in import FanIn
from szilard.sparse.growth import Growth
from szilard.sparse.move import Move
from szilard.sparse.n_of_m import NOfM
from szilard.sparse.neuron import Neuron
from szilard.sparse.pattern import Pattern, Unstructured
from szilard.sparse.patterns import budgets, make_pattern
from szilard.sparse.support import Index, Support

__all__ = [
    "Block",
    "FanIn",
    "Growth",
    "Index",
    "Move",
    "NOfM",
    "Neuron",
    "Pattern",
    "Support",
    "Unstructured",
    "allocate",
    "budgets",
    "by_flops",
    "check_density",
    "erdos_renyi_kernel",
    "make_pattern",
    "uniform",
]


def __getattr__(name: str) -> Any:
    return _moved.name_of(__name__, name)
