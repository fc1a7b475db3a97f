"""What a network's output means: one likelihood for each task, for training, judging and compressing alike."""

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
