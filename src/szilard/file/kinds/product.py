"""Tensors that are products of small factors; :mod:`szilard.file.factors` writes and reads the factors.

A product is computed in integers, so that it is the same on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from szilard.coding import LARGEST
from szilard.file import dtypes, steps
from szilard.file.error import Broken, printable
from szilard.file.pieces import SOME, Shape, fill, gathered
from szilard.file.quantised import Levels
from szilard.file.records import TensorRecord

DEPTH = 8  #: number of powers of two that a coefficient of a product can be
MOST_PIECE = 64  #: most entries of a piece; a product takes this many operations for each entry
_EXACT = 1 << 24  # float32 represents all integers up to this


@dataclass(frozen=True, eq=False)
class Product(TensorRecord):
    """W = C B: coefficients that are powers of two or zero, times a small basis (Zhao et al. 2020).

    As a matrix, W has ``shape[0]`` rows. A row is cut into pieces of S entries, and each piece is a row of C times the
    basis of its group of rows. A code k means sign(k) 2^(1 - |k|), and 0 means 0.

    Attributes:
        dtype: as of :class:`~szilard.file.kinds.levels.Levels`.
        codes: signed integers ``[pieces, S]``, magnitudes up to 8.
        basis: signed integers ``[groups, S, S]`` of levels; ``shape[0]`` is a multiple of ``groups``.
        step: code of the basis' step.
    """

    codes: np.ndarray
    basis: np.ndarray
    step: int

    def check(self) -> None:
        """Check that the shapes, the step and the coefficients of the factors match.

        Raises:
            Broken: they do not.
        """
        check_product(self.name, self.shape, self.codes.shape, self.basis.shape, self.step)
        if self.codes.size and (int(self.codes.min()) < -DEPTH or int(self.codes.max()) > DEPTH):
            raise Broken(
                f"a coefficient of {printable(self.name)} is not a power of two that the format allows"
            )
        if max(-int(self.basis.min()), int(self.basis.max())) > LARGEST:
            raise Broken(f"the basis of {printable(self.name)} is outside the range of levels")

    def level_pieces(self) -> Iterator[np.ndarray]:
        """The product as levels, int32, in row order, some at a time; the factors have been checked.

        Raises:
            Broken: a level is outside the range of the format.
        """
        groups, size = len(self.basis), self.basis.shape[-1]
        if not self.codes.size:
            return
        # Sums of integers that a float represents exactly, in any order of summation.
        most = max(-int(self.basis.min()), int(self.basis.max())) * size << DEPTH - 1
        dtype = np.float32 if most <= _EXACT else np.float64
        powers = _POWERS.astype(dtype)
        codes = self.codes.reshape(groups, -1, size)
        rows = codes.shape[1]
        together = max(1, SOME // (max(rows, size) * size))  # groups at a time
        long = max(1, SOME // size)  # rows at a time
        for group in range(0, groups, together):
            basis = self.basis[group : group + together].astype(dtype)
            for row in range(0, rows, long):
                found = np.matmul(powers[codes[group : group + together, row : row + long] + DEPTH], basis)
                if max(-found.min(), found.max()) > LARGEST:
                    raise Broken(f"the product {printable(self.name)} is outside the range of levels")
                yield found.reshape(-1).astype(np.int32)

    def pieces(self) -> Iterator[np.ndarray]:
        """As :meth:`Levels.pieces`."""
        for levels in self.level_pieces():
            yield from self._levels(levels, levels.shape).pieces()

    def levels(self) -> Levels:
        """The product as levels with a step that is 2^7 times smaller.

        Raises:
            Broken: the factors do not match, or the product is outside the range of levels.
        """
        self.check()
        found = np.empty(math.prod(self.shape), np.int32)
        fill(found, self.level_pieces())
        return self._levels(found.reshape(self.shape), self.shape)

    def value(self) -> np.ndarray:
        """As :meth:`~szilard.file.kinds.raw.Raw.value`."""
        self.check()
        return gathered(self.pieces(), self.shape, dtypes.named(self.dtype))

    def _levels(self, levels: np.ndarray, shape: Shape) -> Levels:
        return Levels(self.name, self.dtype, shape, levels, self.step - 16 * (DEPTH - 1))


#: The value of code k of a coefficient, at position k + DEPTH.
_POWERS = np.array([int(math.copysign(1 << DEPTH - abs(k), k)) if k else 0 for k in range(-DEPTH, DEPTH + 1)])


def check_product(name: str, shape: Shape, codes: Shape, basis: Shape, step: int) -> None:
    """Check that the shapes of the factors of a product and the code of the basis' step match.

    Raises:
        Broken: they do not.
    """
    if len(codes) != 2 or len(basis) != 3 or not shape or not basis[0] or not basis[2]:
        raise Broken(f"the factors of {printable(name)} do not match")
    pieces, size = codes
    groups = basis[0]
    if size > MOST_PIECE:
        raise Broken(f"the pieces of {printable(name)} are longer than {MOST_PIECE}")
    if not steps.LOWEST <= step - 16 * (DEPTH - 1) <= steps.HIGHEST - 16 * (DEPTH - 1):
        raise Broken(f"the step of {printable(name)} is outside the range of float32")
    if (
        basis != (groups, size, size)
        or pieces * size != math.prod(shape)
        or shape[0] % groups
        or pieces % groups
    ):
        raise Broken(f"the factors of {printable(name)} do not match")
