"""Mean and variance of every activation in one forward pass, through an unmodified network.

``GaussianTensor`` travels in place of the activations; each function of torch has a rule in the file of its family:
``linear``, ``activations``, ``pooling``, ``normalization``, ``arithmetic``, ``shapes``, ``attention``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from szilard.bayes.moments.comparison import Comparison as Comparison
    from szilard.bayes.moments.comparison import check as check
    from szilard.bayes.moments.factors import fit_factors as fit_factors
    from szilard.bayes.moments.run import propagate as propagate

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

# What runs networks needs their layers, and the layers need the rules: it is imported when it is asked for.
_ABOVE = {"Comparison": "comparison", "check": "comparison", "fit_factors": "factors", "propagate": "run"}


def __getattr__(name: str) -> Any:
    if name not in _ABOVE:
        raise AttributeError(f"module {__name__} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_ABOVE[name]}"), name)
