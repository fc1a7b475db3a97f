"""How operators take a support, and which implementation computes them."""

from __future__ import annotations

from types import ModuleType

from torch import Tensor

from szilard.kernels import dispatch
from szilard.sparse import compiled, portable

INDEX = "Tensor crow, Tensor col, Tensor t_crow, Tensor t_col, Tensor t_perm"
"""The arrays of a :class:`~szilard.sparse.support.Index`, in torch's schema language."""


def implementation(x: Tensor) -> ModuleType:
    """The module that computes products with ``x``: :mod:`szilard.sparse.compiled`, ``portable`` or
    ``triton_kernels``."""
    name = dispatch.implementation(x)
    if name == "triton":
        from szilard.sparse import triton_kernels

        return triton_kernels
    return compiled if name == "cpp" else portable


def not_a_view(y: Tensor) -> Tensor:
    """The same memory, not as a view: autograd forbids writing into a view that a Function returns."""
    return y.new_empty(0).set_(y) if y._is_view() else y  # type: ignore[call-overload]
