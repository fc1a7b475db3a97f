"""Learning under drift: one Bayesian filter for rows that arrive one by one."""

from szilard.adapt.filter import Filter

__all__ = ["Filter"]
