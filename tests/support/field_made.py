"""Streams of fields with numbers that no encoder chooses: random weights, marks, maps, bases, bins and patches.

The reference decoder finds their bins' scales and the checksum of their points.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from math import prod
from typing import Any
from unittest import mock

import field_reference
import numpy as np
from field_reference import BASE, MAPPED, MARKED, PERIODIC, RASTER, RELATIVE
from field_reference_parts import Layout, coarse

from szilard.codec import bins
from szilard.coding import Encoder, Model
from szilard.coding.leb128 import encoded as varint
from szilard.coding.leb128 import zigzag

STEPS = (14, 12, 12, 16, 20)  # log2 of the largest steps of weights
MOST = (32767, 8191, 8191, 131071, 2**28 - 1)  # the largest weights


@dataclass
class Drawn:
    """Bins that are drawn for the scales that a decoder asks for, in place of those of a stream."""

    generator: np.random.Generator
    largest: int
    shape: int = 0
    scales: list[int] = field(default_factory=list)
    bins: list[int] = field(default_factory=list)

    def next(self, scale: int) -> int:
        wide = (1, 40, 200)[int(self.generator.integers(3))] << max(scale - 36, 0) // 4
        b = int(self.generator.integers(-wide, wide + 1))
        self.scales.append(scale)
        self.bins.append(b if abs(b) <= self.largest else 0)
        return self.bins[-1]

    def end(self) -> None:
        pass


def sealed(body: bytes) -> bytes:
    return body + zlib.crc32(body).to_bytes(4, "little")


def adaptive(*matrices: np.ndarray, model: Model = Model.NEIGHBOURS) -> bytes:
    coder = Encoder()
    for matrix in matrices:
        coder.levels(matrix.astype(np.int32), model)
    return coder.finish()


def weights(r: np.random.Generator, rows: int, hidden: int, size: float) -> bytes:
    """A section of weights; 0 for `hidden`: differences from the default ones, or nothing."""
    shape = 64 * int(r.integers(3))
    if not hidden and r.random() < 0.5:
        return bytes([shape, 31, 31, 31, 31, 31])
    steps = [max(int(r.integers(0, most + 1)), 6 * (most == 20)) for most in STEPS]
    n = hidden or 24
    sizes = ((rows, 23), (n, 31), (n, n), (2, n), (1, 2 * n + 2))
    values = []
    for step, most, of in zip(steps, MOST, sizes, strict=True):
        largest = int(most * size * (1 if hidden else 0.01)) >> step
        values.append(r.integers(-largest, largest + 1, of))
    return bytes([shape + hidden, *steps]) + adaptive(*values)


def exponents(r: np.random.Generator, layout: Layout, largest: int) -> bytes:
    """A section of a map with exponents up to the largest."""
    side, axis = int(r.integers(0, 5)), int(r.integers(0, len(layout.leading) + 1))
    high, wide = -(-layout.height >> side), -(-layout.width >> side)
    found = r.integers(0, largest + 1, (layout.count, high, wide))
    changes = found.copy()
    for number, block in enumerate(found):
        before = layout.before(number, axis - 1) if axis else None
        if before is None:
            changes[number, :, 1:] = np.diff(block, axis=1)
            changes[number, 1:, 0] = np.diff(block[:, 0])
        else:
            changes[number] -= found[before]
    return bytes([side, axis]) + adaptive(changes.reshape(layout.count * high, wide))


def waves(r: np.random.Generator, layout: Layout) -> bytes:
    """A section of a base."""
    counts = [int(r.integers(1, min(n, 9) + 1)) for n in (*layout.leading, layout.height, layout.width)]
    kept = int(r.integers(1, counts[-1] * counts[-2] + 1))
    levels = r.integers(-5, 6, (kept, prod(counts[:-2]))) * r.integers(0, 2, (kept, 1))
    numbers = varint(int(r.choice([1, 1000, 10**5]))) + zigzag(int(r.integers(-(10**6), 10**6)))
    return numbers + b"".join(map(varint, (*counts, kept))) + adaptive(levels, model=Model.HISTORY)


def made(
    seed: int, shape: tuple[int, ...], flags: int, levels: int = 0, axes: int = 63, hidden: int = 5,
    size: float = 0.1, kind: int = 0, largest: int = 80,
) -> tuple[bytes, Any]:  # fmt: skip
    """A stream with these numbers in its header, and the array that the reference decodes from its parts.

    Args:
        seed: of everything else.
        shape, flags, levels, axes, kind: as in the header; `kind` is the type.
        hidden: width of the network; 0: the weights are, or begin at, the default ones.
        size: of the weights, as a share of the largest.
        largest: exponent of a map.
    """
    r = np.random.default_rng(seed)
    layout = Layout(shape, levels, bool(flags & PERIODIC), bool(flags & RASTER))
    length, values = (4, 8)[kind], prod(shape)
    constants = r.bytes(3 * length if flags & MARKED else 0)
    side = [r.integers(0, 5, (layout.count * layout.height, layout.width))] if flags & MARKED else []
    side.append(r.integers(-3000, 3001, (layout.count, len(coarse(layout)))))
    sections = [weights(r, 3 if layout.raster else 3 * levels, hidden, size), constants, adaptive(*side)]
    gaps = r.integers(0, values // 3, 2).tolist()
    after = [varint(2) + b"".join(map(varint, gaps)) + r.bytes(2 * length)]
    if flags & MAPPED:
        after.append(exponents(r, layout, largest))
    if flags & BASE:
        after.append(waves(r, layout))
    bound = 0.03 if flags & RELATIVE else 2.5
    head = (
        b"SZF1" + bytes([1, kind, len(shape)]) + b"".join(map(varint, shape)) + bytes([flags, levels, axes])
    )
    head += np.float64(bound).tobytes()

    def joined(checksum: bytes, coded: list[bytes]) -> bytes:
        parts = (varint(len(part)) + part for part in [*sections, *coded, *after])
        return sealed(head + checksum + b"".join(parts))

    drawn = Drawn(r, 2**47 // 2**31 if flags & MAPPED else 2**36, sections[0][0] >> 6)
    checksums = []

    def note(points: np.ndarray, _: bytes) -> None:
        checksums.append(zlib.crc32(points.astype("<i8").tobytes()).to_bytes(4, "little"))

    with (
        mock.patch.object(field_reference, "Bins", return_value=drawn),
        mock.patch.object(field_reference, "check_points", note),
    ):
        array = field_reference.decode(joined(bytes(4), [b""] * 3))
    coded = bins.encode(np.array(drawn.bins, np.int64), np.array(drawn.scales, np.int64), drawn.shape)
    return joined(checksums[0], coded), array
