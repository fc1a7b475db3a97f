"""Lossy codecs of other people: SZ3, SPERR, ZFP, and BitRound with Zstandard.

SZ3 is called through pysz, SPERR and ZFP through imagecodecs. Importing this module imports none of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata, util

import numpy as np

PIP = "pip install pysz==1.1.0 imagecodecs==2026.3.6 (make bench-peers), or --peers FOLDER of these packages"
PACKAGES = {
    "SZ3": ("pysz",),
    "SPERR": ("imagecodecs",),
    "ZFP": ("imagecodecs",),
    "BitRound + zstd": ("numcodecs",),
}
_ALGORITHMS = ("LORENZO_REG", "INTERP_LORENZO", "INTERP", "NOPRED")  # LOSSLESS has no tolerance
_LOWER = (1.0, 1 - 2.0**-20, 0.9999, 0.999, 0.99, 0.95, 0.9, 0.75, 0.5, 0.25)


@dataclass(frozen=True)
class Peer:
    """A codec with one set of options.

    Attributes:
        codec: key of :data:`PACKAGES`.
        options: what distinguishes it from others of the codec, for tables.
        encode: from an array and a tolerance.
        decode: from the stream, shape.
        most_dimensions: of an array.
        factors: of the bound that are tried as tolerances, until the decoded array is within the bound.
    """

    codec: str
    options: str
    encode: Callable[[np.ndarray, float], bytes]
    decode: Callable[[bytes, tuple[int, ...]], np.ndarray]
    most_dimensions: int = 3
    factors: tuple[float, ...] = field(default=_LOWER)


def missing() -> list[str]:
    """Packages that are not installed."""
    needed = {package for packages in PACKAGES.values() for package in packages}
    return sorted(package for package in needed if util.find_spec(package) is None)


def versions(codec: str) -> str:
    """Packages of a codec with their versions."""
    return ", ".join(f"{package} {metadata.version(package)}" for package in PACKAGES[codec])


def peers() -> list[Peer]:
    """All codecs with all options, those of installed packages."""
    absent = missing()
    found = []
    if "pysz" not in absent:
        found += [_sz3(name) for name in _ALGORITHMS]
    if "imagecodecs" not in absent:
        found += [_sperr(), _zfp()]
    return found + [_bitround(shuffled) for shuffled in (False, True)]


def _sz3(algorithm: str) -> Peer:
    import pysz

    def encode(array: np.ndarray, tolerance: float) -> bytes:
        settings = pysz.szConfig(array.shape)
        settings.errorBoundMode = pysz.szErrorBoundMode.ABS  # REL would be of the range
        settings.absErrorBound = tolerance
        settings.cmprAlgo = getattr(pysz.szAlgorithm, algorithm)
        return bytes(pysz.sz.compress(array, settings)[0].tobytes())

    def decode(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
        return np.asarray(pysz.sz.decompress(np.frombuffer(data, np.uint8).copy(), np.float32, shape)[0])

    return Peer("SZ3", algorithm, encode, decode, most_dimensions=4)


def _sperr() -> Peer:
    import imagecodecs

    # Streams of slices are without SPERR's header, which zarr's metadata make superfluous; 3-D needs it.
    def encode(array: np.ndarray, tolerance: float) -> bytes:
        header = array.ndim == 3
        return bytes(imagecodecs.sperr_encode(array, tolerance, mode="pwe", header=header, numthreads=1))

    def decode(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
        header = len(shape) == 3
        known = {} if header else {"shape": shape, "dtype": np.float32}
        return np.asarray(imagecodecs.sperr_decode(data, header=header, numthreads=1, **known))

    return Peer("SPERR", "point-wise error", encode, decode)


def _zfp() -> Peer:
    import imagecodecs

    def encode(array: np.ndarray, tolerance: float) -> bytes:
        return bytes(imagecodecs.zfp_encode(array, tolerance, mode="a", numthreads=1))

    def decode(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
        return np.asarray(imagecodecs.zfp_decode(data, numthreads=1)).reshape(shape)

    # ZFP stays far below its tolerance, so that larger ones are tried first.
    return Peer(
        "ZFP", "fixed accuracy", encode, decode, most_dimensions=4, factors=(16.0, 8.0, 4.0, 2.0, *_LOWER)
    )


def _bitround(shuffled: bool) -> Peer:
    from numcodecs import BitRound, Shuffle, Zstd

    zstd, shuffle = Zstd(19), Shuffle(4)

    def encode(array: np.ndarray, tolerance: float) -> bytes:
        """Round to a number of bits of the mantissa, which stands for a tolerance, and deflate."""
        rounded = np.asarray(BitRound(int(tolerance)).encode(array)).view(np.uint8)
        return bytes(zstd.encode(shuffle.encode(rounded) if shuffled else rounded))

    def decode(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
        rounded = zstd.decode(data)
        bits = bytes(shuffle.decode(rounded) if shuffled else rounded)
        return np.frombuffer(bits, np.float32).reshape(shape)

    options = "level 19, shuffled bytes" if shuffled else "level 19"
    return Peer("BitRound + zstd", options, encode, decode, factors=())


def fewest_bits(array: np.ndarray, bound: float) -> int:
    """The fewest bits of the mantissa that keep every value of a float32 array within an absolute bound."""
    from numcodecs import BitRound

    for bits in range(23):
        rounded = np.asarray(BitRound(bits).encode(array)).view(np.float32).reshape(array.shape)
        if float(np.abs(rounded.astype(np.float64) - array.astype(np.float64)).max(initial=0)) <= bound:
            return bits
    return 23
