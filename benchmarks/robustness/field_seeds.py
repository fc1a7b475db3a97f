"""Small streams of the field codec, of every mode, as drafts: a head, and the sections that follow it."""

from __future__ import annotations

import functools
import zlib
from dataclasses import dataclass, field

import numpy as np

from szilard.codec import Bound, head, opening, stream
from szilard.codec.features import INPUTS, LINEAR
from szilard.codec.grid import MOST_LEVELS
from szilard.codec.network import Network
from szilard.codec.weights import PARTS, Weights, unchanged
from szilard.coding.leb128 import encoded as varint

STEPS = dict.fromkeys(PARTS, 0)


@dataclass(frozen=True)
class Draft:
    """A stream in parts; every length is written as a varint unless ``lengths`` has other bytes.

    Attributes:
        dims: of the array.
        mode, kind, ndim: the bytes of the head; ``ndim`` None: the number of dims.
        coded: flags, levels, axes, bound and checksum of a coded stream, 15 bytes.
        parts: the sections; of a stored array, its values.
        lengths: bytes instead of the length of a section, by its number.
    """

    dims: tuple[int, ...]
    mode: int
    kind: int
    ndim: int | None = None
    coded: bytes = b""
    parts: tuple[bytes, ...] = ()
    lengths: dict[int, bytes] = field(default_factory=dict)
    magic: bytes = head.MAGIC

    def write(self) -> bytes:
        """The stream with a checksum that fits."""
        ndim = len(self.dims) if self.ndim is None else self.ndim
        whole = (
            self.magic
            + bytes([self.mode, self.kind, ndim & 255])
            + b"".join(map(varint, self.dims))
            + self.coded
        )
        for number, part in enumerate(self.parts):
            if self.mode == head.CODED:
                whole += self.lengths.get(number, varint(len(part)))
            whole += part
        return seal(whole)


def seal(body: bytes) -> bytes:
    """The bytes with their checksum."""
    return body + zlib.crc32(body).to_bytes(4, "little")


def parse(data: bytes, array: np.ndarray) -> Draft:
    """The draft of a stream of an array."""
    found = opening._parts(data, array.size)
    start = len(head.write(array.shape, array.dtype, found.mode))
    coded = data[start : start + 15] if found.mode == head.CODED else b""
    return Draft(
        array.shape, found.mode, head.DTYPES.index(array.dtype), None, coded, tuple(found.parts.values())
    )


def plain_network(shape: int = 0, scale: int = 0) -> Network:
    """Predicts the mean of the four neighbours; ``scale`` is its one bias."""
    biases = np.zeros(6, np.int64)
    biases[-1] = scale
    return Network(
        np.zeros((MOST_LEVELS, 3, LINEAR), np.int64), np.zeros((2, INPUTS), np.int64), np.zeros((2, 2), np.int64),
        np.zeros((2, 2), np.int64), biases, shape,
    )  # fmt: skip


def wild_network(seed: int = 0) -> Network:
    """Has weights up to their limits."""
    r = np.random.default_rng(seed)
    sizes = (
        (32767, (MOST_LEVELS, 3, LINEAR)),
        (8191, (4, INPUTS)),
        (8191, (4, 4)),
        (131071, (2, 4)),
        ((1 << 23) - 1, (10,)),
    )
    return Network(*(r.integers(-most, most + 1, shape) for most, shape in sizes), seed % 3)


OUTSIDE = plain_network(1, 1 << 18)


@functools.cache
def seeds() -> tuple[Draft, ...]:
    """Stored, coarse to fine, rasters, maps, relative bounds, marks, float64, weights outside; 1 to 5 axes."""
    r = np.random.default_rng(0)
    found = []

    def add(
        array: np.ndarray, bound: Bound, network: Network | Weights | None = None, **given: object
    ) -> None:
        network = plain_network(len(found) % 3) if network is None else network
        found.append(parse(forced(array, bound, network, **given), array))

    def wave(*shape: int, dtype: type = np.float32) -> np.ndarray:
        total = np.zeros(shape)
        for axis, length in enumerate(shape):
            total = total + np.sin(np.arange(length) / (2 + axis)).reshape(
                -1, *(1,) * (len(shape) - axis - 1)
            )
        return (10 * total + 0.05 * r.normal(size=shape)).astype(dtype)

    holes = wave(12, 14)
    holes[r.random(holes.shape) < 0.2] = np.nan
    holes[0, 3:5] = np.inf
    signs = wave(10, 16, dtype=np.float64)
    signs[2, :5] = 0.0
    steep = wave(17, 20)
    steep[5] *= 1e5
    wide = 0.05 * 2.0 ** np.linspace(0, 9, 3 * 10 * 12).reshape(3, 10, 12)
    found += [
        parse(head.raw(array), array)
        for array in (wave(40), wave(2, 3, 4, dtype=np.float64), np.zeros((3, 0)))
    ]
    add(wave(60), Bound(0.05))
    add(wave(13, 21), Bound(0.05), wild_network())
    add(wave(3, 9, 16), Bound(0.02), periodic=True)
    add(wave(2, 2, 6, 17, dtype=np.float64), Bound(1e-5))
    add(wave(2, 2, 2, 4, 5), Bound(0.1))
    add(holes, Bound(0.05))
    add(np.concatenate([holes, -holes]), Bound(0.01, relative=True))
    add(signs, Bound(1e-4, relative=True))
    add(steep, Bound(1e-4), wild_network(1))
    add(wave(16, 48), Bound(0.05), raster=True)
    add(np.where(r.random((17, 48)) < 0.1, np.nan, wave(17, 48)).astype(np.float32), Bound(0.02), raster=True)
    add(wave(3, 10, 12), Bound(0.05), bounds=wide)
    add(wave(18, 18), Bound(0.05), OUTSIDE, within=False)
    add(wave(16, 17), Bound(0.05), unchanged(1))
    add(wave(3, 16, 20), Bound(0.05), noise=2.0)
    add(wave(2, 3, 9, 16), Bound(0.02), unchanged(), periodic=True, noise=0.7)
    return tuple(found)


def forced(array: np.ndarray, bound: Bound, network: Network | Weights, **given: object) -> bytes:
    """A coded stream, also where the array as it is takes fewer bytes."""
    bounds = given.pop("bounds", None)
    allowed = None if bounds is None else stream.checked_bounds(bounds, array, bound)  # type: ignore[arg-type]
    weights = network if isinstance(network, Weights) else Weights(network, STEPS)
    found = stream.coded(array, bound, weights, allowed, **given)  # type: ignore[arg-type]
    assert found is not None
    return found


@functools.cache
def seed_files() -> tuple[bytes, ...]:
    """The streams of :func:`seeds`."""
    return tuple(draft.write() for draft in seeds())
