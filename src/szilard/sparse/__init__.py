"""Which entries of a weight exist, and products with such weights."""

from szilard.sparse.allocation import allocate, check_density, erdos_renyi_kernel, uniform
from szilard.sparse.block import Block
from szilard.sparse.neuron import Neuron
from szilard.sparse.pattern import Pattern, Unstructured, budgets, make_pattern
from szilard.sparse.support import Index, Support
from szilard.topology.gradient import GrowthGradient
from szilard.topology.schedule import Move, Schedule, carry_optimizer_state, drop_and_grow

__all__ = [
    "Block",
    "GrowthGradient",
    "Index",
    "Move",
    "Neuron",
    "Pattern",
    "Schedule",
    "Support",
    "Unstructured",
    "allocate",
    "budgets",
    "carry_optimizer_state",
    "check_density",
    "drop_and_grow",
    "erdos_renyi_kernel",
    "make_pattern",
    "uniform",
]
