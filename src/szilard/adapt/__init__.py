"""Learning under drift: one Bayesian filter for rows that arrive one by one, and one for batches and networks."""

from szilard.adapt.filter import Filter
from szilard.adapt.network_filter import NetworkFilter

__all__ = ["Filter", "NetworkFilter"]
