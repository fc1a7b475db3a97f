"""The smooth part of a lattice as waves of low frequency, whose sum is the same integers on every machine.

One fit serves every bound: the bound only decides how fine the amplitudes are coded. The rest, points less base, is
coded like any lattice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from szilard.codec import cosines, latents
from szilard.codec.layout import Layout
from szilard.coding import CodingError, Decoder, Encoder, Model
from szilard.coding.cursor import Cursor
from szilard.coding.leb128 import encoded as varint
from szilard.coding.leb128 import zigzag

FRACTION = 12  #: bits after the point of an amplitude
OFFSET = float(1 << 18)  #: a deviation, in bounds, that leaves the mean and hardly any wave
_MOST_STEP = 1 << 30
_MOST_OFFSET = 1 << 45
_MOST_LEVEL = (1 << 23) - 1
_LEAST = 1e-12  # of a variance, over that of the noise
_MOST_SUM = 1 << 52  # of the sizes that are added up in one product


@dataclass(frozen=True, eq=False)
class Posterior:
    """The waves of a lattice and the prior of their amplitudes; both hold for every bound.

    Attributes:
        layout: of the lattice.
        offset: its mean.
        observed: amplitude of each wave over that of a wave of mean square 1 / values, ``[waves of each axis]``.
        variance: of the prior, of the same shape.
    """

    layout: Layout
    offset: float
    observed: np.ndarray
    variance: np.ndarray

    def encode(self, noise: float, scale: float = 1.0) -> bytes | None:
        """The base of the lattice, or of a lattice of the same values with another unit.

        Args:
            noise: standard deviation that the base may leave in each value, in units of the lattice that is coded;
                one bound to eight gave the shortest files, more for tighter bounds.
            scale: units of the lattice that was fitted, over units of the one that is coded.

        Returns:
            what :func:`synthesise` takes; None if the values are too large for it.
        """
        step = max(1, round(noise * latents.STEP))
        offset = round(self.offset * scale)
        if step > _MOST_STEP or abs(offset) > _MOST_OFFSET:
            return None
        levels = self._levels(noise, step, scale)
        if np.abs(levels).max(initial=0) > _MOST_LEVEL:
            return None
        used = np.nonzero(levels)
        counts = [int(places.max(initial=0)) + 1 for places in used]
        levels = levels[tuple(slice(count) for count in counts)]
        order = _order(self.layout, counts)
        table = levels.reshape(-1, order.size)[:, order].T
        kept = int(np.flatnonzero(table.any(1)).max(initial=0)) + 1
        coder = Encoder()
        coder.levels(table[:kept].astype(np.int32), Model.HISTORY)
        data = varint(step) + zigzag(offset) + b"".join(map(varint, (*counts, kept))) + coder.finish()
        try:
            synthesise(data, self.layout)
        except CodingError:
            return None
        return data

    def _levels(self, noise: float, step: int, scale: float) -> np.ndarray:
        flat = self.observed.reshape(-1) * scale
        variance = np.maximum(self.variance.reshape(-1) * scale**2, _LEAST * noise**2)
        mean, deviation = latents.posterior(flat, latents.widened(variance, flat), noise)
        octave = np.floor(np.log2(variance))
        bands = (octave - octave.min(initial=np.inf)).astype(np.int64)
        counts = list(self.observed.shape)
        unit = _units(self.layout, counts, step) * 2.0**-FRACTION  # as rounded, for the sum of many levels
        unit *= np.sqrt(math.prod(_shape(self.layout)) * 0.5 ** _doubled(self.layout, counts))
        return latents.choose(mean, deviation, unit.reshape(-1), bands).reshape(counts)


def fit(points: np.ndarray, layout: Layout, coded: np.ndarray | None = None) -> Posterior | None:
    """Find the waves of a lattice and their prior, which do not depend on the bound.

    Args:
        points: int64 ``[slices, rows · columns]``.
        layout: of the array.
        coded: which points count, of the same shape; the others are replaced by the mean. None: all.

    Returns:
        None if there are no points, or an axis is too long.
    """
    shape = _shape(layout)
    if not points.size or max(shape) > cosines.MOST_LENGTH:
        return None
    values = points.astype(np.float64)
    if coded is not None:
        if not coded.any():
            return None
        values[~coded] = values[coded].mean()
    offset = float(values.mean())
    found = (values - offset).reshape(shape)
    for axis, length in enumerate(shape):
        waves = _waves(layout, axis, cosines.most_waves(length))
        norm = np.sqrt((1 + waves.doubled) / length) * 2.0**-cosines.SHIFT
        found = np.moveaxis(np.tensordot(waves.values * norm[:, None], found, (1, axis)), 0, axis)
    features, groups = _features(layout, found.shape)
    variance = latents.variances(found.reshape(-1), features, groups)
    return Posterior(layout, offset, found, variance[groups].reshape(found.shape))


def found(
    points: np.ndarray, layout: Layout, coded: np.ndarray | None, noise: float
) -> tuple[bytes | None, np.ndarray]:
    """The base of a lattice as bytes and as points; None and zeros if ``noise`` is 0 or there is none."""
    fitted = fit(points, layout, coded) if noise else None
    data = None if fitted is None else fitted.encode(noise)
    return data, np.zeros_like(points) if data is None else synthesise(data, layout)


def synthesise(data: bytes, layout: Layout) -> np.ndarray:
    """The base ``[slices, rows · columns]`` int64, in units of the lattice.

    Work and memory are at most a constant times the number of points, whatever the bytes.

    Raises:
        CodingError: the bytes are damaged.
    """
    shape = _shape(layout)
    if max(shape) > cosines.MOST_LENGTH:
        raise CodingError("a field this long cannot have a base; the file is damaged")
    cursor = Cursor(data, "the base of the field")
    step, offset = cursor.varint(_MOST_STEP), cursor.zigzag(_MOST_OFFSET)
    counts = [cursor.varint(cosines.most_waves(length)) for length in shape]
    kept = cursor.varint(counts[-1] * counts[-2])
    if not (step and kept and min(counts)):
        raise CodingError("the base of the field is damaged")
    slices = math.prod(counts[:-2])
    coder = Decoder(cursor.take(cursor.left()))
    table = np.zeros((counts[-2] * counts[-1], slices))
    table[_order(layout, counts)[:kept]] = coder.levels(kept, slices, Model.HISTORY)
    coder.finish()
    amplitudes = table.T.reshape(counts) * _units(layout, counts, step)
    base = _sum(amplitudes, layout).astype(np.int64)
    found = ((base + (1 << (FRACTION - 1))) >> FRACTION) + offset
    return found.reshape(layout.count, -1)


def _sum(amplitudes: np.ndarray, layout: Layout) -> np.ndarray:
    """The sum of the waves, in 2^-FRACTION: doubles that hold integers, added exactly in any order."""
    found = amplitudes
    for axis, count in enumerate(amplitudes.shape):
        if np.abs(found).sum(axis).max() * 2.0**cosines.SHIFT > _MOST_SUM:
            raise CodingError("the base of the field is beyond the lattice; the file is damaged")
        found = np.moveaxis(found, axis, -1) @ _waves(layout, axis, count).values
        found = np.moveaxis(np.floor(found * 2.0**-cosines.SHIFT + 0.5), -1, axis)
    return found


def _units(layout: Layout, counts: list[int], step: int) -> np.ndarray:
    """Amplitude of level 1 of each wave, in 2^-FRACTION, rounded down: of integers alone; at least 1."""
    shape = _shape(layout)
    values = math.prod(shape)
    sizes = [
        max(1, math.isqrt((step * step << (2 * FRACTION + doubled)) // values))
        for doubled in range(len(shape) + 1)
    ]
    return np.array(sizes, np.float64)[_doubled(layout, counts)]


def _doubled(layout: Layout, counts: list[int]) -> np.ndarray:
    """Along how many axes the mean square of each wave is halved, int64 ``counts``."""
    found = np.zeros(counts, np.int64)
    for axis, count in enumerate(counts):
        along = _waves(layout, axis, count).doubled
        found += along.reshape([-1 if other == axis else 1 for other in range(len(counts))])
    return found


def _order(layout: Layout, counts: list[int]) -> np.ndarray:
    """Places of the waves of a slice, ``[rows · columns]``, by rising frequency."""
    height, width = layout.slice_shape
    down = _waves(layout, len(counts) - 2, counts[-2]).half_cycles * width
    right = _waves(layout, len(counts) - 1, counts[-1]).half_cycles * height
    return np.argsort((down[:, None] ** 2 + right**2).reshape(-1), kind="stable")


def _features(layout: Layout, counts: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """What the prior depends on, ``[groups, features]``, and the group of each wave.

    Log2 of the frequency in a slice and its square, and for each leading axis whether the wave varies along it, log2 of
    the frequency, and the first times that in a slice.
    """
    height, width = layout.slice_shape
    longest = max(height, width)
    down = _waves(layout, len(counts) - 2, counts[-2]).half_cycles * (longest / height)
    right = _waves(layout, len(counts) - 1, counts[-1]).half_cycles * (longest / width)
    band = np.rint(4 * np.log2(1 + np.hypot(down[:, None], right))).astype(np.int64).reshape(-1)
    radius, inner = np.unique(band, return_inverse=True)
    lead = np.indices(counts[:-2]).reshape(len(counts) - 2, math.prod(counts[:-2]))
    columns = [
        np.ones(lead.shape[1])[:, None] * power for power in (radius**0, radius / 4, (radius / 4) ** 2)
    ]
    for along in lead:
        if along.any():
            varies = (along > 0)[:, None] * np.ones(len(radius))
            columns += [varies, np.log2(1 + along)[:, None] * varies, varies * radius / 4]
    features = np.stack([column.reshape(-1) for column in columns], 1)
    groups = (np.arange(lead.shape[1])[:, None] * len(radius) + inner).reshape(-1)
    return features, groups


def _waves(layout: Layout, axis: int, count: int) -> cosines.Waves:
    shape = _shape(layout)
    return cosines.waves(shape[axis], count, layout.periodic and axis == len(shape) - 1)


def _shape(layout: Layout) -> tuple[int, ...]:
    """Leading axes, rows and columns."""
    return (*layout.shape[:-2], *layout.slice_shape)
