"""Likelihoods of a network's output, one for each task, used in training, evaluation and compression."""

from szilard.likelihood.bernoulli import Bernoulli
from szilard.likelihood.categorical import Categorical
from szilard.likelihood.choice import Choice, choose, for_training
from szilard.likelihood.embedding import Embedding
from szilard.likelihood.gaussian import Gaussian
from szilard.likelihood.likelihood import Likelihood
from szilard.likelihood.noisy import NoisyGaussian
from szilard.likelihood.several import Part, Several
from szilard.likelihood.targets import TASKS, TargetType

__all__ = [
    "TASKS",
    "Bernoulli",
    "Categorical",
    "Choice",
    "Embedding",
    "Gaussian",
    "Likelihood",
    "NoisyGaussian",
    "Part",
    "Several",
    "TargetType",
    "choose",
    "for_training",
]
