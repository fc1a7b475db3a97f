"""What is known of a weight: Gaussians on a support, priors, and networks made of them."""

from szilard.bayes.achieved import Density, density
from szilard.bayes.attention import BayesAttention
from szilard.bayes.batchnorm import reestimate_batchnorm
from szilard.bayes.conversion import bayesianize
from szilard.bayes.drawn_weights import BayesWeights, Drawn, drawn_modules
from szilard.bayes.every import every_weight, kl, streams, weights
from szilard.bayes.layers import BayesConv, BayesLayer, BayesLinear, bayes_layers
from szilard.bayes.modes import drawn, evaluating, mode
from szilard.bayes.noise import Noise
from szilard.bayes.point import point_network
from szilard.bayes.posterior_summary import diagnostics
from szilard.bayes.priors import (
    FanInPrior,
    FixedPrior,
    LearnedPrior,
    LogUniformPrior,
    Prior,
    gaussian_kl,
    log_alpha,
    make_prior,
)
from szilard.bayes.weight import Weight

__all__ = [
    "BayesAttention",
    "BayesConv",
    "BayesLayer",
    "BayesLinear",
    "BayesWeights",
    "Density",
    "Drawn",
    "FanInPrior",
    "FixedPrior",
    "LearnedPrior",
    "LogUniformPrior",
    "Noise",
    "Prior",
    "Weight",
    "bayes_layers",
    "bayesianize",
    "density",
    "diagnostics",
    "drawn",
    "drawn_modules",
    "evaluating",
    "every_weight",
    "gaussian_kl",
    "kl",
    "log_alpha",
    "make_prior",
    "mode",
    "point_network",
    "reestimate_batchnorm",
    "streams",
    "weights",
]
