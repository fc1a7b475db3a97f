"""Checks of matrices and measurements, with messages that say what to do."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from szilard.errors import SzilardError, SzilardWarning

_SAME = 1e-6  # columns whose cosine is within this of 1 are repeated
_MOST_COMPARED = 4096  # columns that are compared with each other


def float_tensor(values: Any, name: str) -> Tensor:
    """Numbers as a tensor of float32 or float64; integers become float32.

    Raises:
        SzilardError: for float16, bfloat16, complex numbers and what is not numeric.
    """
    try:
        tensor = values if isinstance(values, Tensor) else torch.from_numpy(np.ascontiguousarray(values))
    except (TypeError, ValueError) as error:
        raise SzilardError(f"{name} is not an array of numbers; give float32 or float64") from error
    if tensor.dtype in (torch.float16, torch.bfloat16):
        raise SzilardError(
            f"{name} is {str(tensor.dtype)[6:]}, too coarse to solve in; convert it to float32"
        )
    if tensor.dtype.is_complex:
        raise SzilardError(f"{name} is complex; stack real and imaginary parts")
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.to(torch.float32)


def float_matrix(values: Any) -> Tensor:
    """The matrix A ``[m, n]``, checked.

    Raises:
        SzilardError: if it is not a matrix, or a column is zero or not finite.
    """
    A = float_tensor(values, "A").detach()
    if A.ndim != 2 or 0 in A.shape:
        raise SzilardError(f"A has shape {tuple(A.shape)}; give a matrix with a row for each measurement")
    bad = (~torch.isfinite(A)).any(0).nonzero()[:, 0].tolist()
    if bad:
        raise SzilardError(f"column {bad[0]} of A is not finite; remove or mend it{_others(bad)}")
    norms = A.norm(dim=0)
    bad = (norms == 0).nonzero()[:, 0].tolist()
    if bad:
        raise SzilardError(
            f"column {bad[0]} of A is zero, so that nothing measures its code; remove it{_others(bad)}"
        )
    return A


def _others(indices: list[int]) -> str:
    more = len(indices) - 1
    return f" ({more} more like it)" if more else ""


def warn_repeated(A: Tensor) -> None:
    """Warn if columns are multiples of each other: their codes cannot be told apart."""
    if A.shape[1] > _MOST_COMPARED:
        return
    units = A / A.norm(dim=0)
    same = torch.triu((units.t() @ units).abs(), 1) > 1 - _SAME
    if same.any():
        first, second = same.nonzero()[0].tolist()
        warnings.warn(
            f"columns {first} and {second} of A are the same but for a factor ({int(same.sum())} such pairs): their "
            "codes cannot be told apart; remove one of them",
            SzilardWarning,
            stacklevel=3,
        )


def measurements(b: Any, shape: tuple[int, int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Measurements ``[B, m]`` in a solver's dtype and on its device.

    Raises:
        SzilardError: if they do not fit the matrix, or are not finite.
    """
    b = float_tensor(b, "b")
    m, n = shape
    if b.ndim != 2 or b.shape[1] != m:
        hint = (
            "; b.reshape(1, -1) makes a sample of it"
            if tuple(b.shape) == (m,)
            else "; give b transposed"
            if b.ndim == 2 and b.shape[0] == m
            else ""
        )
        raise SzilardError(
            f"b has shape {tuple(b.shape)} and A is {m} x {n}: b needs a row of {m} numbers for each sample{hint}"
        )
    bad = (~torch.isfinite(b)).any(1).nonzero()[:, 0].tolist()
    if bad:
        raise SzilardError(f"row {bad[0]} of b is not finite; remove or mend it{_others(bad)}")
    return b.to(device, dtype)


def warn_zero_codes(penalty: Tensor, largest: Tensor) -> None:
    """Warn if the penalty makes all codes zero.

    Args:
        penalty: λ of each sample ``[B]``.
        largest: ‖Aᵀb‖_∞ of each sample ``[B]``, from which on λ gives zero codes.
    """
    if len(largest) and bool((penalty >= largest).all()) and bool((largest > 0).any()):
        warnings.warn(
            f"the penalty ({float(penalty.min()):.3g}) is not below ‖Aᵀb‖_∞ of any sample (at most "
            f"{float(largest.max()):.3g}), so that all codes are zero; take a smaller one",
            SzilardWarning,
            stacklevel=7,
        )
