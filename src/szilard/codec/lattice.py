"""From floating-point values and a bound to integers, and back with the same bits on every machine."""

from __future__ import annotations

import decimal
import functools
from dataclasses import dataclass

import numpy as np

from szilard.codec.network import STEP
from szilard.errors import SzilardError

UNITS = 512  #: of the lattice in a bound; a bin is 1023 wide, so that no value moves by more than 511
LARGEST = 1 << 44  #: of a value
FARTHEST = 1 << 46  #: of any point, also of predictions where no value is coded
_FINE = 1 - 2.0**-10  # of a relative bound, for the rounding of logarithm and exponential
LEAST_UNIT = 2.0**-1022  #: of the lattice; smaller numbers have fewer digits
_SMALL = 1e-290  # below it products lose digits
_TAYLOR = (
    1.0,
    0.6931471805599453,
    0.2402265069591007,
    0.055504108664821576,
    0.009618129107628477,
    0.0013333558146428441,
    0.00015403530393381606,
    1.5252733804059838e-05,
    1.3215486790144305e-06,
    1.0178086009239696e-07,
    7.054911620801121e-09,
    4.44553827187081e-10,
    2.5678435993488196e-11,
    1.3691488853904124e-12,
)


@dataclass(frozen=True)
class Bound:
    """The largest error of a value.

    Attributes:
        size: absolute, or a share of each value's magnitude.
        relative: whether it is a share of the magnitude; zeros then stay zero.
    """

    size: float
    relative: bool = False

    def __post_init__(self) -> None:
        if not (self.size > 0 and np.isfinite(self.size)):
            raise SzilardError(f"the bound of an error must be positive and finite, not {self.size:g}")
        if self.relative and self.size >= 1:
            raise SzilardError(f"a relative bound must be below 1, not {self.size:g}")

    @property
    def unit(self) -> float:
        """Width of a unit of the lattice, in the array's units or in log2."""
        if self.relative:
            return _log2_above_one(self.size) * _FINE / UNITS
        return self.size / UNITS

    def within(self, values: np.ndarray) -> Bound:
        """The bound for a lattice whose points are cast to the type of these values: less by half of their last digit.

        Args:
            values: float32 or float64; those that are not finite do not count.
        """
        half = float(np.finfo(values.dtype).eps) / 2
        if not self.relative:
            half *= float(np.abs(values).max(initial=0, where=np.isfinite(values)))
        if not self.size / (2 * UNITS) < half < self.size / 2:
            return self
        return Bound(self.size - half, self.relative)

    def broken(
        self, original: np.ndarray, decoded: np.ndarray, allowed: np.ndarray | None = None
    ) -> np.ndarray:
        """Where a decoded value is farther from the original than the bound, bool; both finite, of one shape.

        Args:
            original: the values.
            decoded: what became of them.
            allowed: absolute bounds of the same shape instead of this one.
        """
        # The difference and the product are rounded, so that they are compared with a little less than the bound.
        with np.errstate(over="ignore"):
            error = np.abs(original.astype(np.float64) - decoded.astype(np.float64))
        most = np.asarray(self.size if allowed is None else allowed, dtype=np.float64)
        if self.relative:
            most = most * np.abs(original.astype(np.float64))
            most = np.where(most < _SMALL, 0.0, most)
        return ~(error <= most * (1 - 2.0**-51))


@functools.lru_cache(maxsize=64)
def _log2_above_one(size: float) -> float:
    """log2(1 + size), rounded correctly; that of a processor's library differs in its last digit from others."""
    with decimal.localcontext(decimal.Context(prec=40)):
        return float((1 + decimal.Decimal(size)).ln() / decimal.Decimal(2).ln())


def to_integers(values: np.ndarray, unit: float) -> np.ndarray | None:
    """The nearest points of the lattice, int64; None if one is too far from zero, or the unit has lost digits."""
    if unit < LEAST_UNIT:
        return None
    with np.errstate(over="ignore"):
        scaled = np.floor(values.astype(np.float64) / unit + 0.5)
    if scaled.size and not np.abs(scaled).max() < LARGEST:
        return None
    return scaled.astype(np.int64)


def from_integers(lattice: np.ndarray, unit: float) -> np.ndarray:
    """Values of points of the lattice, float64: one product, which is the same everywhere; it may be infinite."""
    with np.errstate(over="ignore"):
        return lattice.astype(np.float64) * unit


def mean(points: np.ndarray) -> int:
    """The mean of points, rounded down; their upper and lower bits are summed apart, because 2^17 could wrap."""
    upper, lower = int((points >> 32).sum()), int((points & 0xFFFFFFFF).sum())
    return ((upper << 32) + lower) // points.size


def far_away(points: np.ndarray) -> bool:
    """Whether a point is farther from zero than any may be."""
    return bool(len(points)) and bool(points.max() > FARTHEST or points.min() < -FARTHEST)


def exp2(values: np.ndarray) -> np.ndarray:
    """2^x by sums and products alone, which are the same everywhere; |x| < 2000."""
    whole = np.floor(values + 0.5)
    rest = values - whole
    total = np.full_like(rest, _TAYLOR[-1])
    for coefficient in reversed(_TAYLOR[:-1]):
        total = total * rest + coefficient
    return np.ldexp(total, whole.astype(np.int32))


assert STEP == 2 * UNITS - 1
