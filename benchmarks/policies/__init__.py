"""Spaces of policies with a known KL and cost, on which searchers are compared."""
