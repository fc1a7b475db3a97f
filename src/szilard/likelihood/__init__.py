"""What a network's output means: one likelihood for each task, for training, judging and compressing alike."""

from szilard.likelihood.bernoulli import Bernoulli
from szilard.likelihood.categorical import Categorical
from szilard.likelihood.choice import TASKS, Choice, choose, for_training
from szilard.likelihood.embedding import Embedding
from szilard.likelihood.gaussian import Gaussian
from szilard.likelihood.likelihood import Likelihood
from szilard.likelihood.noisy import NoisyGaussian
from szilard.likelihood.several import Part, Several

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
    "choose",
    "for_training",
]
