"""Bayesian networks: Gaussian weights on supports, priors, and the conversion of ordinary networks."""

from szilard.bayes.achieved_density import Density, density
from szilard.bayes.attention import BayesAttention
from szilard.bayes.base_layer import BayesLayer, bayes_layers
from szilard.bayes.batchnorm import reestimate_batchnorm
from szilard.bayes.conversion import bayesianize
from szilard.bayes.drawn_weights import BayesWeights, Drawn, drawn_modules
from szilard.bayes.given_moments import from_moments
from szilard.bayes.layers import BayesConv, BayesLinear
from szilard.bayes.linearisation import Linearised, linearised
from szilard.bayes.modes import drawn, evaluating, mode
from szilard.bayes.moments.comparison import Comparison, LayerComparison, check
from szilard.bayes.moments.factors import fit_factors
from szilard.bayes.moments.rules import rule
from szilard.bayes.moments.run import propagate
from szilard.bayes.moments.value import GaussianTensor, Moments
from szilard.bayes.network_weights import every_weight, kl, streams, weights
from szilard.bayes.next_prior import (
    Unknown,
    Values,
    posterior_as_prior,
    posterior_values,
    set_source_prior,
    start_at_prior,
)
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
from szilard.bayes.source_prior import SourcePrior
from szilard.bayes.weight import Weight

__all__ = [
    "BayesAttention",
    "BayesConv",
    "BayesLayer",
    "BayesLinear",
    "BayesWeights",
    "Comparison",
    "Density",
    "Drawn",
    "FanInPrior",
    "FixedPrior",
    "GaussianTensor",
    "LayerComparison",
    "LearnedPrior",
    "Linearised",
    "LogUniformPrior",
    "Moments",
    "Noise",
    "Prior",
    "SourcePrior",
    "Unknown",
    "Values",
    "Weight",
    "bayes_layers",
    "bayesianize",
    "check",
    "density",
    "diagnostics",
    "drawn",
    "drawn_modules",
    "evaluating",
    "every_weight",
    "fit_factors",
    "from_moments",
    "gaussian_kl",
    "kl",
    "linearised",
    "log_alpha",
    "make_prior",
    "mode",
    "point_network",
    "posterior_as_prior",
    "posterior_values",
    "propagate",
    "reestimate_batchnorm",
    "rule",
    "set_source_prior",
    "start_at_prior",
    "streams",
    "weights",
]
