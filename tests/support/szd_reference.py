"""A reference reader of .szd files, written only from docs/format.md: slow, without szilard and numpy.

It returns the bits of every tensor, so that tests can compare the library with the documentation, and it refuses
what a reader must refuse according to the documentation. :mod:`szd_tables` reads the tables, and :mod:`szd_streams`
decodes the two streams.
"""

from __future__ import annotations

import hashlib
import math
import struct
from dataclasses import dataclass
from typing import Any

from szd_bytes import Bytes, inflate
from szd_products import multiplied
from szd_streams import LIMIT, Adaptive, Refused, Static, block, need
from szd_tables import (
    ALIAS,
    CONSTANT,
    COUNTED,
    DICTIONARY,
    FULL_MASK,
    LEVELS,
    MANTISSAS,
    MASK,
    PRODUCTS,
    RANDOM,
    RAW,
    SIZES,
    TYPES,
    Tables,
    matrix,
    raw_bytes,
    tables,
    tensor_names,
)

__all__ = [
    "DICTIONARY", "PRODUCTS", "SIZES", "TYPES", "Bytes", "File", "Refused", "Tables", "TooLarge", "block", "decode",
    "raw_bytes", "read", "tables",
]  # fmt: skip


GROUP = 2**16  # static levels between two checks whether the stream is used up
Tensor = tuple[str, tuple[int, ...], bytes]  # type, shape, entries


class TooLarge(Exception):
    """The file may be valid, but would take this slow reader too long."""


@dataclass
class File:
    """The decoded content of a file.

    Attributes:
        tensors: in order; an alias has the same tuple object as its target.
        aliases: the target's name, by the alias's name.
        meta: metadata without the entries of the format itself.
        content: the content hash.
    """

    tensors: dict[str, Tensor]
    aliases: dict[str, str]
    meta: dict[str, Any]
    content: bytes


def read(data: bytes) -> tuple[dict[str, Tensor], dict]:
    """Every tensor as its type, shape and bytes; and the metadata.

    Raises:
        Refused: the file is invalid according to the documentation.
    """
    found = tables(data)
    file = decode(found)
    need(file.content == found.content, "the content's hash is another")
    return file.tensors, file.meta


def decode(found: Tables, most: int | None = None, streams: tuple[Adaptive, Static] | None = None) -> File:
    """The tensors of a file, and the computed hash of its content, which may differ from the stored one.

    Args:
        most: limit of entries and bytes.
        streams: used in place of the file's streams.

    Raises:
        Refused: the file is invalid according to the documentation.
        TooLarge: there are more.
    """
    if most is not None and max(found.declared, found.work) > most:
        raise TooLarge(f"{found.declared} bytes")
    adaptive, static = streams or (Adaptive(found.adaptive), Static(found.static))
    content, raw = Content(), Bytes(found.raw)
    factors = {f"{name}{part}": name for name in found.products for part in (".coefficients", ".basis")}
    counted = found.flags & COUNTED
    numbered: list[str] = []
    tensors: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    before: tuple[tuple[int, ...], list[int]] = ((), [])  # the coefficients of a product
    for name, row in zip(found.names, found.rows, strict=True):
        kind, dtype, shape = row["kind"], row["type"], row["shape"]
        numbered += tensor_names(name, row)
        if kind == ALIAS:
            need(row["target"] < len(numbered) - 1, "an alias is of no earlier tensor")
            need(numbered[row["target"]] in tensors, "an alias is of a factor")
            aliases[name] = numbered[row["target"]]
            tensors[name] = tensors[aliases[name]]
            content.head(name, 254, (row["target"],))
        elif kind in (MASK, FULL_MASK):
            bits = adaptive.matrix(*shape, "MASK") if kind == MASK else [1] * math.prod(shape)
            tensors |= support(name, shape, bits)
            content.head(name, 255, shape)
            content.bits(bits)
        elif name in factors:
            levels, scales = take_levels(row, adaptive, static)
            if not counted:  # files of version 0.1
                content.tensor(name, row["code"], shape, values(levels, scales, row["step"], row))
            if name.endswith(".basis"):
                product = multiplied(before[1], levels, (before[0], shape))
                entries = values(product, ([0], [0]), row["step"] - 7 * 16, row)
                tensors[factors[name]] = (dtype, found.products[factors[name]], entries)
                if counted:
                    content.tensor(factors[name], row["code"], found.products[factors[name]], entries)
            before = shape, levels
        else:
            if kind == LEVELS:
                entries = values(*take_levels(row, adaptive, static), row["step"], row)
            else:
                entries = drawn(row, raw) if kind == RANDOM else exact(row, raw)
            tensors[name] = (dtype, shape, entries)
            content.tensor(name, row["code"], shape, entries)
    adaptive.end()
    static.end()
    raw.end()
    return File(tensors, aliases, found.meta, content.hash.digest())


class Content:
    """The hash of the decoded content."""

    def __init__(self) -> None:
        self.hash = hashlib.blake2b(digest_size=16)

    def head(self, name: str, code: int, dims: tuple[int, ...]) -> None:
        sizes = b"".join(size.to_bytes(8, "little") for size in dims)
        self.hash.update(name.encode() + b"\0" + bytes([code, len(dims)]) + sizes)

    def tensor(self, name: str, code: int, shape: tuple[int, ...], entries: bytes) -> None:
        self.head(name, code, shape)
        size = SIZES[TYPES[code]]
        equal = entries and entries == entries[:size] * (len(entries) // size)
        self.hash.update(b"\0" + entries[:size] if equal else b"\1" + entries)

    def bits(self, bits: list[int]) -> None:
        eights = [bits[i : i + 8] for i in range(0, len(bits), 8)]
        packed = bytes(sum(bit << place for place, bit in enumerate(eight)) for eight in eights)
        self.hash.update(b"\0" if all(bits) else b"\1" + packed)


def support(name: str, shape: tuple[int, int], bits: list[int]) -> dict[str, Tensor]:
    crow, col = [0], []
    for r in range(shape[0]):
        col += [c for c, bit in enumerate(bits[r * shape[1] : (r + 1) * shape[1]]) if bit]
        crow.append(len(col))
    return {
        f"{name}.crow": ("int32", (len(crow),), struct.pack(f"<{len(crow)}i", *crow)),
        f"{name}.col": ("int32", (len(col),), struct.pack(f"<{len(col)}i", *col)),
    }


def exact(row: dict[str, Any], raw: Bytes) -> bytes:
    n, size = math.prod(row["shape"]), SIZES[row["type"]]
    if row["kind"] == CONSTANT:
        entries = row["entry"] * n
    elif row["kind"] == RAW:
        entries = raw.take(n * size)
    else:
        need(n * size <= 1032 * row["stored"], "a plane stream grows too much")
        planes = inflate(raw.take(row["stored"]), n * size)
        need(len(planes) == n * size, "a plane stream is too short")
        entries = b"".join(bytes(planes[i::n]) for i in range(n)) if n else b""
    need(row["type"] != "bool" or set(entries) <= {0, 1}, "a bool is none")
    return entries


def philox(seed: int, *counter: int) -> list[int]:
    a, b, c, d = counter
    key = [seed, 0]
    for _ in range(10):
        m, n = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = n >> 32 ^ b ^ key[0], n % 2**32, m >> 32 ^ d ^ key[1], m % 2**32
        key = [(key[0] + 0x9E3779B9) % 2**32, (key[1] + 0xBB67AE85) % 2**32]
    return [a, b, c, d]


def drawn(row: dict[str, Any], raw: Bytes) -> bytes:
    n, bits, seed = math.prod(row["shape"]), row["bits"], row["seed"]
    size = -(-row["blocks"] * bits // 8)
    digits = f"{int.from_bytes(raw.take(size), 'big'):0{8 * size}b}"
    need(
        "1" not in digits[row["blocks"] * bits :], "the last byte of a random tensor is not filled with zeros"
    )
    values = [b""] * n
    for place, e in enumerate(sorted(range(n), key=lambda e: philox(seed, e, 0, 0, 1)[0])):
        block = place // row["size"]
        words = philox(seed, place, int(digits[block * bits : (block + 1) * bits], 2), 0, 0)
        k = sum(sum(word.to_bytes(4, "little")) for word in words) - 2040
        values[e] = entry(k, power(row["step"]), row["type"])
    return b"".join(values)


Scales = tuple[list[int], list[int]]  # codes of rows and of columns, or 0 for all


def take_levels(row: dict[str, Any], adaptive: Adaptive, static: Static) -> tuple[list[int], Scales]:
    """The next levels of the streams, and their scales."""
    rows, cols = matrix(row["shape"])
    n = math.prod(row["shape"])
    row_scale = scale_codes(adaptive, rows, row["row offset"]) if row["coding"] & 2 else [0]
    col_scale = scale_codes(adaptive, cols, row["column offset"]) if row["coding"] & 4 else [0]
    if not n:
        return [], ([0], [0])
    if row["coding"] & 8:
        alphabet, codes = [row["offset"]], [0]
        for gap in adaptive.matrix(1, row["alphabet"] - 1, "NEIGHBOURS"):
            need(gap >= 0, "a table of levels is none")
            alphabet.append(alphabet[-1] + gap + 1)
        need(alphabet[-1] < LIMIT, "a level of a table is too large")
        for rise in adaptive.matrix(1, row["alphabet"], "NEIGHBOURS"):
            codes.append(codes[-1] + rise)
        levels: list[int] = []
        for first in range(0, n, GROUP):
            count = min(GROUP, n - first)
            need(first + count == n or not static.used_up, "the static stream ends too early")
            levels += static.levels(count, alphabet, codes[1:])
    else:
        levels = adaptive.matrix(rows, cols, "HISTORY" if row["coding"] & 1 else "NEIGHBOURS")
        levels = [k + row["offset"] for k in levels]
    need(all(abs(k) < LIMIT for k in levels), "a level is too large")
    return levels, (row_scale, col_scale)


def values(levels: list[int], scales: Scales, step: int, row: dict[str, Any]) -> bytes:
    """Levels as entries of the record's type."""
    cols = matrix(row["shape"])[1]
    rows_of, cols_of = scales
    found = []
    for i, k in enumerate(levels):
        of_row, of_col = (
            rows_of[i // cols if len(rows_of) > 1 else 0],
            cols_of[i % cols if len(cols_of) > 1 else 0],
        )
        scale = f32(power(step) * power(2 * of_row))
        found.append(entry(k, f32(scale * power(2 * of_col)), row["type"]))
    return b"".join(found)


def scale_codes(adaptive: Adaptive, count: int, offset: int) -> list[int]:
    codes = [k + offset for k in adaptive.matrix(1, count, "NEIGHBOURS")]
    need(all(-128 <= code <= 127 for code in codes), "a scale is beyond its limits")
    return codes


def f32(value: float) -> float:
    try:
        return struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError as error:
        raise Refused("a value is not finite") from error


def power(j: int) -> float:
    """2^(j/16)."""
    need(abs(j) < 2**14, "a step is beyond its limits")
    return math.ldexp(MANTISSAS[j % 16], j // 16)


def entry(level: int, scale: float, name: str) -> bytes:
    """A level times a scale, in a type."""
    value = f32(level * scale)
    if name == "bfloat16":  # the float32 whose upper half is nearest; of two, the even one
        bits = struct.unpack("<I", struct.pack("<f", value))[0]
        low, up = bits & 0xFFFF, bits >> 16
        up += low > 0x8000 or (low == 0x8000 and up % 2)
        need(up & 0x7F80 != 0x7F80, "a value is not finite")
        return struct.pack("<H", up)
    try:
        return struct.pack({"float32": "<f", "float16": "<e", "float64": "<d"}[name], value)
    except OverflowError as error:
        raise Refused("a value is not finite") from error
