"""What is known of a weight: Gaussians on a support, priors, and networks made of them."""

from szilard.bayes.attention import BayesAttention
from szilard.bayes.batchnorm import reestimate_batchnorm
from szilard.bayes.bayesianize import bayesianize
from szilard.bayes.diagnostics import diagnostics
from szilard.bayes.layers import BayesConv, BayesLayer, BayesLinear, bayes_layers, kl, weights
from szilard.bayes.modes import drawn, evaluating, mode
from szilard.bayes.noise import Noise
from szilard.bayes.priors import FanInPrior, FixedPrior, LearnedPrior, Prior, gaussian_kl, make_prior
from szilard.bayes.weight import Weight

__all__ = [
    "BayesAttention",
    "BayesConv",
    "BayesLayer",
    "BayesLinear",
    "FanInPrior",
    "FixedPrior",
    "LearnedPrior",
    "Noise",
    "Prior",
    "Weight",
    "bayes_layers",
    "bayesianize",
    "diagnostics",
    "drawn",
    "evaluating",
    "gaussian_kl",
    "kl",
    "make_prior",
    "mode",
    "reestimate_batchnorm",
    "weights",
]
