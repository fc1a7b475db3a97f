"""Learning under drift: one Bayesian filter for rows that arrive one by one."""

from szilard.adapt.classifier import OnlineClassifier
from szilard.adapt.filter import Filter
from szilard.adapt.presets import PRESETS
from szilard.adapt.regressor import OnlineRegressor

__all__ = ["PRESETS", "Filter", "OnlineClassifier", "OnlineRegressor"]
