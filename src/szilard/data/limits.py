"""How much memory a data file may ask for: as much as its size makes plausible, and no more."""

from __future__ import annotations

import math
import os
from pathlib import Path

from szilard.errors import SzilardError

VARIABLE = "SZILARD_DATA_GIB"
_GIB = 1 << 30
_AT_MOST = 8 * _GIB
_ALWAYS = 128 << 20  # so much needs no reason
_RATIO = 128  # bytes of arrays for a byte of the file; MNIST, counted like this, has 19
_PICTURE, _OTHER = 4, 8  # bytes of a value when it is worked with: float32, float64


def check(path: Path, needed: int, size: int) -> None:
    """Refuse a file before anything of it is unpacked.

    Without ``$SZILARD_DATA_GIB`` a file may fill 128 MiB, or 128 times its own size if that is more, and never over
    8 GiB. With it, a file may fill so many GiB, whatever its size.

    Args:
        needed: bytes that its values take in memory, see :func:`in_memory`.
        size: of the file on the disk, in bytes.

    Raises:
        SzilardError: it needs more.
    """
    asked = _asked()
    allowed = min(_AT_MOST, max(_ALWAYS, _RATIO * size)) if asked is None else int(asked * _GIB)
    if needed > allowed:
        raise SzilardError(
            f"{path} has {size:,} bytes and would fill {_gib(needed)} of memory, more than the {_gib(allowed)} "
            f"allowed for it; if you trust the file, set {VARIABLE}={min(needed // _GIB + 1, 10**9)} and try again"
        )


def in_memory(shape: tuple[int, ...], item_bytes: int, *, picture: bool = False) -> int:
    """Bytes of an array as :func:`check` counts them: with each value as wide as it is worked with.

    A size of zero counts as one, so that no other hides behind it.

    Args:
        item_bytes: of a value in the file.
        picture: bytes or floats of pictures, which become float32; all else becomes float64 or int64.
    """
    return math.prod(max(1, size) for size in shape) * max(_PICTURE if picture else _OTHER, item_bytes)


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
