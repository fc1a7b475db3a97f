"""Mean and variance of every activation in one forward pass, through an unmodified network.

``GaussianTensor`` travels in place of the activations; each function of torch has a rule in the file of its family:
``linear``, ``activations``, ``pooling``, ``normalization``, ``arithmetic``, ``shapes``, ``attention``.
"""

from szilard.bayes.moments import (
    activations,
    arithmetic,
    attention,
    linear,
    normalization,
    pooling,
    shapes,
)
from szilard.bayes.moments.rules import rule
from szilard.bayes.moments.value import GaussianTensor, Moments

__all__ = [
    "GaussianTensor",
    "Moments",
    "activations",
    "arithmetic",
    "attention",
    "linear",
    "normalization",
    "pooling",
    "rule",
    "shapes",
]
