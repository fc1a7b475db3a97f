"""Samplers of posteriors, as optimisers of torch, and what tells whether their draws can be trusted."""

from szilard.sampling.diagnostics import Diagnostics, diagnose, pareto_khat
from szilard.sampling.langevin import Langevin

__all__ = ["Diagnostics", "Langevin", "diagnose", "pareto_khat"]
