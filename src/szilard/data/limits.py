"""Limit on the memory that a data file can take, relative to its size on disk: protects from decompression bombs."""

from __future__ import annotations

import math
import os
from pathlib import Path

from szilard.errors import SzilardError

VARIABLE = "SZILARD_DATA_GIB"
_GIB = 1 << 30
_AT_MOST = 8 * _GIB
_ALWAYS = 128 << 20  # allowed for every file
_RATIO = 128  # bytes of arrays per byte of the file; MNIST has 19
_IMAGE, _OTHER = 4, 8  # bytes of a value in memory: float32, float64


def check(path: Path, needed: int, size: int) -> None:
    """Refuse a file that would take too much memory, before it is unpacked.

    By default a file can take 128 MiB, or 128 times its own size if that is more, and at most 8 GiB.
    ``$SZILARD_DATA_GIB`` sets another limit in GiB for files of any size.

    Args:
        needed: bytes that its values take in memory, see :func:`in_memory`.
        size: of the file on disk, in bytes.

    Raises:
        SzilardError: the file needs more than the limit.
    """
    asked = _asked()
    allowed = min(_AT_MOST, max(_ALWAYS, _RATIO * size)) if asked is None else int(asked * _GIB)
    if needed > allowed:
        raise SzilardError(
            f"{path} has {size:,} bytes and would take {_gib(needed)} of memory, more than the limit of "
            f"{_gib(allowed)}; if you trust the file, set {VARIABLE}={min(needed // _GIB + 1, 10**9)} and try again"
        )


def in_memory(shape: tuple[int, ...], item_bytes: int, *, image: bool = False) -> int:
    """Bytes of an array in memory, with each value in the type that it is processed in.

    A size of zero counts as one, because an array with a zero size could hide huge other sizes.

    Args:
        item_bytes: bytes of a value in the file.
        image: whether these are images, which become float32; everything else becomes float64 or int64.
    """
    return math.prod(max(1, size) for size in shape) * max(_IMAGE if image else _OTHER, item_bytes)


def _asked() -> float | None:
    text = os.environ.get(VARIABLE)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 1e9:
        raise SzilardError(f"{VARIABLE} is {text!r}; set it to a number of GiB, for instance 20")
    return value


def _gib(count: int) -> str:
    return f"{count / _GIB:,.2f} GiB" if count < 1e6 * _GIB else "over a million GiB"
