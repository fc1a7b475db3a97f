"""Write ``src/szilard/coding/shapes.bin``, the frequencies of the interleaved coder, with arithmetic of 60 digits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from decimal import Decimal, getcontext
from pathlib import Path

import numpy as np

TABLES, PER_OCTAVE, LOWEST, RADIUS, TOTAL = 40, 4, -8, 63, 1 << 16
PARTS = (("0.8", 1), ("0.17", 3), ("0.027", 9), ("0.003", 27))  # shares and widths of Laplace distributions
ROOT = Decimal("2.506628274631000502415765284811045253006986740609938316629924")  # of 2 pi
RARE = Decimal(2) ** -15  # of a symbol at the radius of its table


def tails(edge: Decimal, scale: Decimal) -> Decimal:
    """Probability above a positive edge under the mixture of Laplace distributions."""
    return sum(((Decimal(share) * (-edge / (scale * wide)).exp() / 2) for share, wide in PARTS), Decimal(0))


def logistic(edge: Decimal, scale: Decimal) -> Decimal:
    """Probability above a positive edge under the logistic distribution."""
    return 1 / (1 + (edge / scale).exp())


def gaussian(edge: Decimal, scale: Decimal) -> Decimal:
    """Probability above a positive edge under the Gaussian of standard deviation twice the scale."""
    z = edge / (2 * scale)
    if z > 6:  # the continued fraction of Laplace
        rest = z
        for n in range(400, 0, -1):
            rest = z + n / rest
        return (-z * z / 2).exp() / (rest * ROOT)
    term = total = z
    for n in range(1, 400):
        term *= -z * z / (2 * n)
        total += term / (2 * n + 1)
    return Decimal("0.5") - total / ROOT


def row(scale: Decimal, beyond: Callable[[Decimal, Decimal], Decimal]) -> list[int]:
    """Frequencies of -63..63 and of the escape, which sum to 2^16; 0 beyond the table's radius."""
    half = Decimal("0.5")
    above = [beyond(Decimal(n) - half, scale) for n in range(1, RADIUS + 2)]  # from n on
    radius = next((n for n in range(1, RADIUS) if above[n] - above[n + 1] < RARE), RADIUS)
    sides = [above[n - 1] - above[n] for n in range(1, radius + 1)]
    spare = TOTAL - (2 * radius + 2)
    counts = [1 + int(spare * share) for share in sides]
    tail = 1 + int(spare * 2 * above[radius])
    whole = [0] * (2 * RADIUS + 1)
    for n, count in enumerate(counts, 1):
        whole[RADIUS + n] = whole[RADIUS - n] = count
    whole[RADIUS] = TOTAL - 2 * sum(counts) - tail
    return [*whole, tail]


def tables() -> np.ndarray:
    """``[120, 128]`` uint16."""
    getcontext().prec = 60
    scales = [Decimal(2) ** (Decimal(LOWEST) + Decimal(k) / PER_OCTAVE) for k in range(TABLES)]
    return np.array(
        [row(scale, shape) for shape in (tails, logistic, gaussian) for scale in scales], dtype="<u2"
    )


if __name__ == "__main__":
    found = tables()
    assert (found.astype(int).sum(1) == TOTAL).all()
    target = Path(__file__).parents[1] / "src" / "szilard" / "coding" / "shapes.bin"
    target.write_bytes(found.tobytes())
    print(hashlib.sha256(found.tobytes()).hexdigest(), found.nbytes)
