"""How supports move: when, which entries go, and where new ones grow."""

from szilard.sparse.move import Move
from szilard.topology.gradient import GrowthGradient
from szilard.topology.moves import Moves
from szilard.topology.replace import carry_optimizer_state, drop_and_grow
from szilard.topology.schedule import Schedule
from szilard.topology.scores import SCORES

__all__ = [
    "SCORES",
    "GrowthGradient",
    "Move",
    "Moves",
    "Schedule",
    "carry_optimizer_state",
    "drop_and_grow",
]
