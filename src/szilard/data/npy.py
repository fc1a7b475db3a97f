"""The npy format of one array (https://numpy.org/neps/nep-0001-npy-format.html), of numbers and text only."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import IO

import numpy as np

from szilard.data.limits import in_memory

_MAGIC = b"\x93NUMPY"
_LENGTH_BYTES = {1: 2, 2: 4, 3: 4}
_LONGEST = 10_000  # bytes of a header; plain arrays have about a hundred
_MOST_AXES = 32
_MOST_SIZE = 1 << 40  # of one axis
_PIECE = 1 << 20
# One of the three entries of the header, which is a Python dict literal. It is parsed here and not evaluated.
_ENTRY = re.compile(
    r"""\s*(['"])(?P<key>descr|fortran_order|shape)\1\s*:\s*"""
    r"""(?:(['"])(?P<text>[^'"]{1,64})\3|(?P<flag>True|False)|\((?P<sizes>[0-9L,\s]{0,800})\)|(?P<fields>\[))\s*(?:,|(?=\}))"""
)
_TYPE = re.compile(r"([<>|=]?)([biufcSUVmM])([0-9]{0,7})(?:\[[0-9a-zA-Zμ/]{1,16}\])?", re.ASCII)
_CODES = 0x110000
_SURROGATES = (0xD800, 0xDFFF)


class NotPlain(Exception):
    """An array that cannot be read; the message is a predicate, such as "is truncated"."""


class Objects(NotPlain):
    """An array of Python objects."""


@dataclass(frozen=True)
class Header:
    """The header of an npy file.

    Attributes:
        bytes: size of the header itself.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    fortran: bool
    bytes: int

    @property
    def data_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def memory(self) -> int:
        """Bytes as :func:`szilard.data.limits.check` counts them."""
        image = len(self.shape) > 2 and (self.dtype == np.uint8 or self.dtype.kind == "f")
        return in_memory(self.shape, self.dtype.itemsize, image=image)


def read_header(file: IO[bytes]) -> Header:
    """Read the header, up to the first value.

    Raises:
        NotPlain: not an npy file, or of a type that is neither numbers nor text.
    """
    start = file.read(8)
    width = _LENGTH_BYTES.get(start[6]) if len(start) == 8 and start.startswith(_MAGIC) else None
    if width is None:
        raise NotPlain("is not a NumPy array")
    counted = file.read(width)
    length = int.from_bytes(counted, "little")
    if len(counted) < width or length > _LONGEST:
        raise NotPlain("has a damaged header")
    content = file.read(length)
    if len(content) < length:
        raise NotPlain("is truncated")
    found = _entries(content.decode("latin-1").strip())
    if found.get("fields"):
        raise NotPlain("is an array of records")
    if set(found) != {"text", "flag", "sizes"}:
        raise NotPlain("has a damaged header")
    return Header(_dtype(found["text"]), _shape(found["sizes"]), found["flag"] == "True", 8 + width + length)


def read_values(file: IO[bytes], header: Header) -> np.ndarray:
    """The values after the header, read in pieces directly into the array.

    Raises:
        NotPlain: there are fewer or more values than the header declares, or invalid text.
    """
    values = np.empty(math.prod(header.shape), header.dtype)
    target = values.view(np.uint8).data if header.data_bytes else memoryview(b"")
    filled = 0
    while filled < len(target):
        piece = file.read(min(_PIECE, len(target) - filled))
        if not piece:
            raise NotPlain("is truncated")
        target[filled : filled + len(piece)] = piece
        filled += len(piece)
    if file.read(1):  # the last read also verifies the archive's checksum
        raise NotPlain("has more bytes than its header declares")
    if header.dtype.kind == "b":
        values = values.view(np.uint8) != 0
    if header.dtype.kind == "U":
        _check_text(values)
    return values.reshape(header.shape, order="F" if header.fortran else "C")


def _entries(text: str) -> dict[str, str]:
    """The header's entries, named "text" (descr), "flag" (fortran_order) and "sizes" (shape)."""
    kinds = {"descr": ("text", "fields"), "fortran_order": ("flag",), "shape": ("sizes",)}
    found: dict[str, str] = {}
    place = 1
    while text.startswith("{") and (entry := _ENTRY.match(text, place)):
        kind = next(kind for kind in ("text", "flag", "sizes", "fields") if entry[kind] is not None)
        if kind not in kinds[entry["key"]] or kind in found:
            return {}
        found[kind] = entry[kind]
        if kind == "fields":
            return found
        place = entry.end()
    return found if text[place:].strip() == "}" else {}


def _dtype(text: str) -> np.dtype:
    if text.lstrip("|<>=") in ("O", "O8", "O4"):
        raise Objects("holds Python objects")
    if not _TYPE.fullmatch(text):
        raise NotPlain("is of an unknown type")
    try:
        return np.dtype(text)
    except (TypeError, ValueError) as error:
        raise NotPlain("is of an unknown type") from error


def _shape(text: str) -> tuple[int, ...]:
    """Sizes as in "3, 4", "3," or nothing."""
    parts = [part.strip().removesuffix("L") for part in text.split(",")]
    if parts[-1] == "":
        parts.pop()
    if len(parts) > _MOST_AXES or not all(part.isdecimal() and len(part) < 20 for part in parts):
        raise NotPlain("has a damaged header")
    shape = tuple(map(int, parts))
    if any(size > _MOST_SIZE for size in shape):
        raise NotPlain("has a damaged header")
    return shape


def _check_text(values: np.ndarray) -> None:
    """Raise for code points that are not valid Unicode, which NumPy cannot compare or print."""
    if not (values.size and values.dtype.itemsize):
        return
    codes = values.view(values.dtype.byteorder.replace("|", "=") + "u4")
    low, high = _SURROGATES
    if (codes >= _CODES).any() or ((codes >= low) & (codes <= high)).any():
        raise NotPlain("has characters that are not valid Unicode")
