"""Widths of the bins of a lattice: one for all, or one for each value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from szilard.codec.grid import Pass
from szilard.codec.lattice import FARTHEST
from szilard.coding import CodingError


@dataclass(frozen=True)
class Fineness:
    """The widths of the bins of a lattice.

    Attributes:
        exponents: ``[slices, rows · columns]``, of the widths.
        widths: of a bin by its exponent; a step of the exponent is a step of the scale.
    """

    exponents: np.ndarray
    widths: np.ndarray

    def of(self, number: int, step: Pass, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Widths of the bins of a pass, and its scales in these widths, both ``[M]``."""
        k = self.exponents[number][step.targets]
        return self.widths[k], np.maximum(scale - k, 0)


def rises(bins: np.ndarray, widths: np.ndarray | int) -> np.ndarray:
    """Bins of their widths in points of the lattice; raises for more than from any point to another."""
    if not isinstance(widths, int) and (np.abs(bins) > 2 * FARTHEST // widths).any():
        raise CodingError("a value of the field is beyond the lattice; the file is damaged")
    return bins * widths
