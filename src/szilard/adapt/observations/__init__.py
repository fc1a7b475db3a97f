"""Likelihoods of targets given the outputs of a linear predictor."""

from szilard.adapt.observations.linear import Linear
from szilard.adapt.observations.logistic import Logistic
from szilard.adapt.observations.observation import Observation, Seen
from szilard.adapt.observations.softmax import Softmax
from szilard.adapt.observations.unknown_noise import UnknownNoise

__all__ = ["Linear", "Logistic", "Observation", "Seen", "Softmax", "UnknownNoise"]
