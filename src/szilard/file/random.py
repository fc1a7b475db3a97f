"""The random numbers shared by reader and writer, in integer arithmetic: the same on every machine.

Philox4x32-10 (Salmon et al. 2011) makes four words from a counter and a key. A variate is the sum of their 16 bytes
minus its mean: an integer with a nearly normal distribution, with variance 16 (256² - 1) / 12 and an excess kurtosis of
-0.08.
"""

from __future__ import annotations

import math

import numpy as np

from szilard.kernels import native

SPREAD = math.sqrt(16 * (256**2 - 1) / 12)  #: standard deviation of a variate, 295.6
MOST_VARIATE = 16 * 255 // 2  #: its largest magnitude
_VARIATES, _ORDER = 0, 1  # last word of a counter: its purpose
_PIECE = 1 << 15  # counters at a time

_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = 0x9E3779B9, 0xBB67AE85
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


def philox(counter: tuple[np.ndarray, ...], key: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """Four words for each counter of four words; uint64 arrays ``[n]`` that hold 32 bits."""
    a, b, c, d = counter
    for number in range(10):
        k = tuple(
            np.uint64((word + number * weyl) & 0xFFFFFFFF) for word, weyl in zip(key, _WEYL, strict=True)
        )
        first, second = a * _MULTIPLIERS[0], c * _MULTIPLIERS[1]
        a, b, c, d = (second >> _HALF) ^ b ^ k[0], second & _LOW, (first >> _HALF) ^ d ^ k[1], first & _LOW
    return a, b, c, d


def variates(places: np.ndarray, candidates: np.ndarray, seed: int) -> np.ndarray:
    """One variate for each pair of a position and a candidate number, int32 ``[n]``."""
    words = _words(places, candidates, _VARIATES, seed)
    total = np.full(len(places), -MOST_VARIATE, np.int32)
    for word in words:
        pairs = (word & np.uint64(0x00FF00FF)) + (word >> np.uint64(8) & np.uint64(0x00FF00FF))
        total += ((pairs & np.uint64(0xFFFF)) + (pairs >> np.uint64(16))).astype(np.int32)
    return total


def order(count: int, seed: int) -> np.ndarray:
    """A permutation, int64 ``[count]``: the entries sorted by the first word of their counter, ties in order."""
    keys = np.empty(count, np.uint32)
    for start in range(0, count, _PIECE):
        places = np.arange(start, min(start + _PIECE, count), dtype=np.uint64)
        keys[start : start + _PIECE] = _words(places, np.zeros_like(places), _ORDER, seed)[0]
    return np.argsort(keys, kind="stable")


def draw(count: int, size: int, indices: np.ndarray, seed: int) -> np.ndarray:
    """Levels int32 ``[count]``: block b has the entries at positions ``b size`` to ``(b + 1) size - 1`` of the order.

    Args:
        indices: number of the candidate that each block takes.
    """
    levels = np.empty(count, np.int32)
    if native.available() and len(indices) * size >= count:
        chosen = np.ascontiguousarray(indices, np.uint32)
        status = native.library().szilard_draw(
            count, size, chosen.ctypes.data, len(chosen), seed, levels.ctypes.data, levels.size
        )
        native.check(status, "random levels")
        return levels
    entries = order(count, seed)
    for start in range(0, count, _PIECE):
        places = np.arange(start, min(start + _PIECE, count), dtype=np.int64)
        chosen = indices[places // size].astype(np.uint64)
        levels[entries[start : start + _PIECE]] = variates(places.astype(np.uint64), chosen, seed)
    return levels


def pack(indices: np.ndarray, bits: int) -> bytes:
    """Numbers of ``bits`` bits each, high bits first; the last byte is padded with zeros."""
    shifts = np.arange(bits - 1, -1, -1)
    return np.packbits((indices.astype(np.int64)[:, None] >> shifts & 1).astype(np.uint8)).tobytes()


def unpack(data: bytes, count: int, bits: int) -> np.ndarray | None:
    """Undo :func:`pack`, uint32 ``[count]``; None if the padding is not zero."""
    spare = len(data) * 8 - count * bits
    if spare and data[-1] & (1 << spare) - 1:
        return None
    found = np.empty(count, np.uint32)
    for start in range(0, count, _PIECE):  # a multiple of eight, so that a piece begins at a byte
        end = min(start + _PIECE, count)
        groups = -(-(end - start) // 8)  # of eight numbers in `bits` bytes
        block = np.zeros(groups * bits, np.uint8)
        given = data[start * bits // 8 : -(-end * bits // 8)]
        block[: len(given)] = np.frombuffer(given, np.uint8)
        columns = block.reshape(groups, bits)
        numbers = np.empty((groups, 8), np.uint32)
        for place in range(8):
            first, last = place * bits // 8, (place * bits + bits - 1) // 8
            word = columns[:, first].astype(np.uint32)
            for byte in range(first + 1, last + 1):
                word = word << np.uint32(8) | columns[:, byte]
            behind = 8 * (last + 1) - (place + 1) * bits
            numbers[:, place] = word >> np.uint32(behind) & np.uint32((1 << bits) - 1)
        found[start:end] = numbers.reshape(-1)[: end - start]
    return found


def _words(places: np.ndarray, candidates: np.ndarray, purpose: int, seed: int) -> tuple[np.ndarray, ...]:
    counter = places, candidates, np.zeros_like(places), np.full_like(places, purpose)
    return philox(counter, (seed, 0))
