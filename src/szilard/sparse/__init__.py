"""Which entries of a weight exist, and products with such weights."""

from szilard.sparse.allocation import allocate, check_density, erdos_renyi_kernel, uniform
from szilard.sparse.growth import GrowthGradient
from szilard.sparse.support import Index, Support
from szilard.sparse.topology import Move, Schedule, carry_optimizer_state, drop_and_grow

__all__ = [
    "GrowthGradient",
    "Index",
    "Move",
    "Schedule",
    "Support",
    "allocate",
    "carry_optimizer_state",
    "check_density",
    "drop_and_grow",
    "erdos_renyi_kernel",
    "uniform",
]
