"""How supports move: when, which entries go, and where new ones grow."""

from szilard.sparse.move import Move
from szilard.sparse.one_threshold import largest_of_all
from szilard.topology.alternating import Alternating
from szilard.topology.budget import CubicBudget
from szilard.topology.elastic_blocks import Ticket, block_map, elastic
from szilard.topology.gradient import GrowthGradient
from szilard.topology.levels import Levels
from szilard.topology.momentum import MomentumGrowth
from szilard.topology.moves import Moves
from szilard.topology.random_growth import RandomGrowth
from szilard.topology.redistribution import Redistribution, divided
from szilard.topology.refinements import Refinements
from szilard.topology.replace import carry_optimizer_state, drop_and_grow
from szilard.topology.resized import resize
from szilard.topology.schedule import Schedule
from szilard.topology.scores import SCORES

__all__ = [
    "SCORES",
    "Alternating",
    "CubicBudget",
    "GrowthGradient",
    "Levels",
    "MomentumGrowth",
    "Move",
    "Moves",
    "RandomGrowth",
    "Redistribution",
    "Refinements",
    "Schedule",
    "Ticket",
    "block_map",
    "carry_optimizer_state",
    "divided",
    "drop_and_grow",
    "elastic",
    "largest_of_all",
    "resize",
]
