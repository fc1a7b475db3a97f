"""Gaussian beliefs about weights, one for each hypothesis, with full or diagonal precision."""

from szilard.adapt.beliefs.belief import Belief, Projection, WeightPrior
from szilard.adapt.beliefs.diagonal import Diagonal
from szilard.adapt.beliefs.full import Full

BELIEFS = {belief.name: belief for belief in (Full, Diagonal)}

__all__ = ["BELIEFS", "Belief", "Diagonal", "Full", "Projection", "WeightPrior"]
