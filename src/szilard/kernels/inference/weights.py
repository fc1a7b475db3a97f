"""Weights of a program: independent Gaussians, or numbers, dense or on a support."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from szilard.errors import SzilardError


@dataclass(frozen=True)
class Dense:
    """A weight of which every entry exists.

    Args:
        mean: ``[out, in]`` or ``[out, in / groups, *kernel]``.
        variance: of the same shape; None: the weight is deterministic.

    Raises:
        SzilardError: if the shapes differ.
    """

    mean: Tensor
    variance: Tensor | None = None

    def __post_init__(self) -> None:
        if self.variance is not None and self.variance.shape != self.mean.shape:
            raise SzilardError(
                f"the variance of a weight has shape {tuple(self.variance.shape)} and its mean "
                f"{tuple(self.mean.shape)}; give one variance for each entry"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the weight."""
        return tuple(self.mean.shape)

    def dense(self, values: Tensor) -> Tensor:
        """``values`` (the mean or the variance) in the shape of the weight."""
        return values


@dataclass(frozen=True)
class Sparse:
    """A weight with the index of a :class:`szilard.sparse.Support`.

    Args:
        mean: values of the existing entries ``[nnz]``.
        variance: ``[nnz]``; None: the weight is deterministic.
        crow: int32 ``[rows + 1]``.
        col: int32 ``[nnz]``, ascending within a row.
        shape: of the dense weight, ``[out, in]`` or ``[out, in / groups, *kernel]``.

    Raises:
        SzilardError: if arrays have wrong lengths or types. Their contents are checked when a program is finished.
    """

    mean: Tensor
    variance: Tensor | None
    crow: Tensor
    col: Tensor
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        if len(self.shape) < 2 or min(self.shape) < 1:
            raise SzilardError(f"a sparse weight of shape {self.shape} was given; give [out, in, ...]")
        lengths: Sequence[tuple[str, Tensor, int]] = [
            ("crow", self.crow, self.shape[0] + 1),
            ("col", self.col, self.mean.numel()),
            ("variance", self.mean if self.variance is None else self.variance, self.mean.numel()),
        ]
        for name, array, length in lengths:
            if array.dim() != 1 or array.numel() != length:
                raise SzilardError(
                    f"{name} of a sparse weight has shape {tuple(array.shape)}, but {length} numbers are needed; "
                    f"use the index of a szilard.sparse.Support and one value for each entry"
                )
            if name != "variance" and array.dtype != torch.int32:
                raise SzilardError(f"{name} of a sparse weight has type {array.dtype}; give an int32 tensor")

    def dense(self, values: Tensor) -> Tensor:
        """``values [nnz]`` scattered into the shape of the weight."""
        out = values.new_zeros(self.shape[0], math.prod(self.shape[1:]))
        rows = torch.repeat_interleave(torch.arange(self.shape[0]), self.crow.diff().long())
        out[rows, self.col.long()] = values
        return out.reshape(self.shape)
