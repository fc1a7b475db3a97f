"""Inference on one input: a network as a :class:`Program` that runs in one call, on numbers or on their moments."""

from szilard.kernels.inference.compiled import Compiled, Moments
from szilard.kernels.inference.program import Program
from szilard.kernels.inference.steps import Value
from szilard.kernels.inference.weights import Dense, Sparse

__all__ = ["Compiled", "Dense", "Moments", "Program", "Sparse", "Value"]
