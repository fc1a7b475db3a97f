"""Which implementation of the sparse products a tensor uses.

``torch`` (:mod:`szilard.sparse.portable`) takes every tensor, ``cpp`` (:mod:`szilard.kernels.native`) float32 on the
CPU, ``triton`` float32 on a CUDA device. The default is the fastest that can run. The environment variable
``SZILARD_KERNELS`` names one; tensors that it does not take (float64, for example) go to torch.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import warnings
from typing import Literal

import torch
from torch import Tensor

from szilard.errors import SzilardError, SzilardWarning
from szilard.kernels import native

Implementation = Literal["torch", "cpp", "triton"]

VARIABLE = "SZILARD_KERNELS"


def implementation(tensor: Tensor) -> Implementation:
    """The implementation for this tensor and for everything computed with it.

    Warns once, with :class:`~szilard.errors.SzilardWarning`, if C++ kernels would be used and there are none.

    Raises:
        SzilardError: if ``SZILARD_KERNELS`` names an unknown implementation, or one that is not installed.
    """
    return _implementation(tensor.device.type, tensor.dtype)


def _implementation(device: str, dtype: torch.dtype) -> Implementation:
    if dtype != torch.float32:
        return "torch"
    asked = os.environ.get(VARIABLE)
    if asked:
        named = _named(asked)
        supported = {"torch": True, "cpp": device == "cpu", "triton": _triton_supports(device)}
        return named if supported[named] else "torch"
    if device == "cpu":
        why_not = native.why_not()
        if why_not is None:
            return "cpp"
        _warn_once(why_not)
    return "triton" if device == "cuda" and _has_triton() else "torch"


# For a compiler, too, the result depends on device and dtype alone. This line is all that
# torch.compiler.assume_constant_result does; that function would import the compiler and sympy, 80 MB, in every
# process.
_implementation._dynamo_marked_constant = True  # type: ignore[attr-defined]


def describe() -> str:
    """What runs on this machine, as short text: ``"cpp avx512"``.

    Raises:
        SzilardError: as :func:`implementation`.
    """
    asked = os.environ.get(VARIABLE)
    if asked:
        named = _named(asked)
        return f"cpp {native.isa()}" if named == "cpp" else named
    why_not = native.why_not()
    words = [f"torch; no C++ kernels: {why_not}" if why_not else f"cpp {native.isa()}"]
    if _has_triton() and torch.cuda.is_available():
        words.insert(0, "triton")
    return ", ".join(words)


def _named(asked: str) -> Implementation:
    if asked == "torch":
        return "torch"
    if asked == "cpp":
        why_not = native.why_not()
        if why_not:
            raise SzilardError(
                f"{VARIABLE}=cpp, but there are no C++ kernels: {why_not}; {native.REINSTALL}, or unset the variable"
            )
        return "cpp"
    if asked == "triton":
        if not _has_triton():
            raise SzilardError(
                f"{VARIABLE}=triton, but Triton is not installed; pip install triton, or unset the variable"
            )
        return "triton"
    raise SzilardError(
        f"{VARIABLE}={asked} is not known; set it to torch, cpp or triton, or unset it to use the fastest"
    )


def _triton_supports(device: str) -> bool:
    return (
        device == "cuda" or os.environ.get("TRITON_INTERPRET") == "1"
    )  # Triton's interpreter runs on the CPU


@functools.cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


@functools.cache
def _warn_once(why_not: str) -> None:
    warnings.warn(
        "sparse products run on torch, about three times slower than szilard's C++ kernels on this CPU: "
        f"{why_not}; {native.REINSTALL}, or set {VARIABLE}=torch to use torch without this warning",
        SzilardWarning,
        stacklevel=2,
    )
