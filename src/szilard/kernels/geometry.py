"""The sizes of a convolution or a pooling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from szilard.errors import SzilardError


class Convolution(NamedTuple):
    """How a weight of ``shape [O, C / groups, *kernel]`` is moved over its input; one number for each axis."""

    shape: Sequence[int]
    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]
    groups: int

    def out_size(self, size: Sequence[int]) -> list[int]:
        """Size of the output over an input of ``size``."""
        return [
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(
                size, self.shape[2:], self.stride, self.padding, self.dilation, strict=True
            )
        ]

    def out_shape(self, x: Tensor) -> list[int]:
        """Shape of the output for ``x [B, C, *size]``."""
        return [x.shape[0], self.shape[0], *self.out_size(x.shape[2:])]

    def density(self, nnz: int) -> float:
        return nnz / max(math.prod(self.shape), 1)

    def check(self, x: Tensor) -> None:
        """Raise :class:`SzilardError` unless ``x`` can be convolved."""
        if x.dim() != len(self.shape):
            raise SzilardError(
                f"a {len(self.shape) - 2}-d convolution needs {len(self.shape)}-dimensional input, "
                f"not shape {tuple(x.shape)}"
            )
        if x.shape[1] != self.shape[1] * self.groups:
            raise SzilardError(
                f"a convolution of {self.shape[1] * self.groups} channels was given {x.shape[1]}"
            )
        if min(self.out_size(x.shape[2:])) < 1:
            raise SzilardError(
                f"a convolution with a kernel of {tuple(self.shape[2:])} was given inputs of {tuple(x.shape[2:])}, "
                "which are smaller even with their padding"
            )
