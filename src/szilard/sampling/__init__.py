"""Samplers of posteriors, as optimisers of torch, and what tells whether their draws can be trusted."""

from szilard.sampling.langevin import Langevin

__all__ = ["Langevin"]
