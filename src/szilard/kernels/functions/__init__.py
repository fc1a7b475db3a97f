"""The functions of the C ABI that return a status, by family: one table for each folder of ``csrc``."""

from szilard.kernels.functions import coding, core, field, inference, norm, solve, sparse
from szilard.kernels.functions.types import Arguments

FUNCTIONS: dict[str, Arguments] = {
    **core.FUNCTIONS,
    **sparse.FUNCTIONS,
    **norm.FUNCTIONS,
    **coding.FUNCTIONS,
    **field.FUNCTIONS,
    **inference.FUNCTIONS,
    **solve.FUNCTIONS,
}
"""Argument types by function name."""
