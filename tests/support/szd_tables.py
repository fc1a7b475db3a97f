"""Reads the tables of a .szd file, written from docs/format.md; used by :mod:`szd_reference`."""

from __future__ import annotations

import hashlib
import math
import struct
from dataclasses import dataclass, field
from typing import Any

from szd_bytes import Bytes, inflate
from szd_meta import metadata, product_shapes
from szd_streams import LIMIT, PAGE, Refused, block, need

SIZES = {
    "float32": 4, "float16": 2, "bfloat16": 2, "float64": 8, "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1,
    "bool": 1, "complex64": 8, "complex128": 16, "uint16": 2, "uint32": 4, "uint64": 8, "float8_e4m3fn": 1,
    "float8_e5m2": 1, "float8_e4m3fnuz": 1, "float8_e5m2fnuz": 1, "float8_e8m0fnu": 1, "float4_e2m1fn_x2": 1,
}  # fmt: skip
RAW, PLANES, CONSTANT, ALIAS, LEVELS, MASK, FULL_MASK, RANDOM = range(8)
PRODUCTS = "szilard.products"
COUNTED = 16  # flag: the content hash covers products instead of their factors
WIDE = 32  # flag: numbers of kinds are varints


def types() -> list[str]:
    """Names of the types by number, from the table of docs/format.md."""
    table = PAGE.split("<!-- types -->\n")[1].split("\n\n")[0]
    cells = [cell.split() for line in table.splitlines()[2:] for cell in line.strip("|").split("|")]
    numbered = {int(cell[0]): cell[1] for cell in cells if cell}
    return [numbered[code] for code in range(len(numbered))]


DICTIONARY = "".join(word + "\0" for word in block("dictionary")).encode()
MANTISSAS = [struct.unpack("<f", struct.pack("<I", int(word, 16)))[0] for word in block("mantissas")]
TYPES = types()


@dataclass
class Tables:
    """The tables of a file, without its tensors."""

    flags: int
    names: list[str]
    rows: list[dict[str, Any]]
    meta: dict[str, Any]
    adaptive: bytes
    static: bytes
    raw: bytes
    content: bytes
    products: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def declared(self) -> int:
        """Bytes of all tensors; for a support, the maximum."""
        return sum(declared(row) for row in self.rows)

    @property
    def work(self) -> int:
        """The approximate number of entries to decode."""
        return sum(math.prod(row["shape"]) + sum(coded(row)) for row in self.rows if row["kind"] != CONSTANT)


def declared(row: dict[str, Any]) -> int:
    n = math.prod(row["shape"])
    if row["kind"] == ALIAS:
        return 0
    return 4 * (row["shape"][0] + 1 + n) if row["kind"] in (MASK, FULL_MASK) else n * SIZES[row["type"]]


def tables(data: bytes, *, checked: bool = True) -> Tables:
    """Read everything but the tensors.

    Args:
        checked: refuse invalid tables. Without it the streams can still be read, which is needed to make files with
            a single fault; products are not multiplied then.

    Raises:
        Refused: the file is invalid according to the documentation.
    """
    need(data[:4] == b"SZD1", "it does not begin as a .szd file")
    need(len(data) >= 4 + 24, "it is too short")
    need(hashlib.blake2b(data[:-8], digest_size=8).digest() == data[-8:], "the file's hash is another")
    prefix = Bytes(data[4:-24])
    flags = prefix.take(1)[0]
    need(not flags & 0xF0 & ~(COUNTED | WIDE), "it has an unknown flag")
    count = prefix.varint(most=2**13)
    lengths = [prefix.varint() for _ in range(5)]
    names, fields, meta, adaptive, static = (prefix.take(length) for length in lengths)
    raw = prefix.data[prefix.at :]
    stored = metadata(meta) if checked else {}
    products = product_shapes(stored.pop(PRODUCTS)) if PRODUCTS in stored else {}
    rows = read_fields(fields, count, bool(flags & WIDE))
    found = Tables(
        flags, read_names(names, count), rows, stored, adaptive, static, raw, data[-24:-8], products
    )
    if checked:
        for row in rows:
            check_row(row)
        check_sizes(found)
        check_names(found)
    return found


def check_sizes(found: Tables) -> None:
    """Check that the parts can hold the declared entries."""
    need(sum(map(raw_bytes, found.rows)) == len(found.raw), "the raw part has another length")
    for part, symbols in zip(
        (found.adaptive, found.static), zip(*map(coded, found.rows), strict=True), strict=False
    ):
        need(sum(symbols) <= 5700 * (len(part) + 8), "a stream cannot hold so many integers")


def raw_bytes(row: dict[str, Any]) -> int:
    if row["kind"] == RAW:
        return math.prod(row["shape"]) * SIZES[row["type"]]
    return -(-row["blocks"] * row["bits"] // 8) if row["kind"] == RANDOM else row.get("stored", 0)


def coded(row: dict[str, Any]) -> tuple[int, int]:
    """How many integers of a record are in the adaptive and in the static stream."""
    n = math.prod(row["shape"])
    if row["kind"] == MASK:
        return n, 0
    if row["kind"] != LEVELS:
        return 0, 0
    rows, cols = matrix(row["shape"])
    scales = rows * bool(row["coding"] & 2) + cols * bool(row["coding"] & 4)
    return (scales + 2 * row["alphabet"] - 1, n) if row["coding"] & 8 else (scales + n, 0)


def matrix(shape: tuple[int, ...]) -> tuple[int, int]:
    return (shape[0], math.prod(shape[1:])) if len(shape) > 1 else (1, math.prod(shape))


# -- tables ---------------------------------------------------------------------------------------------


def read_names(part: bytes, count: int) -> list[str]:
    table = Bytes(inflate(part, 2 * count + 2**21, DICTIONARY))
    shared = [table.varint(most=2**10) for _ in range(count)]
    rests = table.data[table.at :].split(b"\0")
    need(len(rests) == count + 1 and not rests[-1], "there are not so many names")
    names, before, left = [], b"", 2**21
    for length, rest in zip(shared, rests, strict=False):
        need(length <= len(before), "a name shares more than there is")
        before = before[:length] + rest
        left -= len(before) + 1
        need(len(before) <= 2**10 and left >= 0, "the names are too long")
        try:
            names.append(before.decode())
        except UnicodeDecodeError as error:
            raise Refused("a name is no text") from error
    return names


def tensor_names(name: str, row: dict[str, Any]) -> list[str]:
    return [f"{name}.crow", f"{name}.col"] if row["kind"] in (MASK, FULL_MASK) else [name]


def check_names(found: Tables) -> None:
    """Check that names of records and of decoded tensors are unique."""
    need(len(set(found.names)) == len(found.names), "two records have the same name")
    numbered = [name for pair in zip(found.names, found.rows, strict=True) for name in tensor_names(*pair)]
    factors = {f"{name}{part}" for name in found.products for part in (".coefficients", ".basis")}
    need(
        len(set(numbered) | set(found.products)) == len(numbered) + len(found.products),
        "two tensors have the same name",
    )
    check_targets(found, numbered, factors)
    check_products(found)


def check_targets(found: Tables, numbered: list[str], factors: set[str]) -> None:
    aliases = {name for name, row in zip(found.names, found.rows, strict=True) if row["kind"] == ALIAS}
    before = 0
    for name, row in zip(found.names, found.rows, strict=True):
        if row["kind"] == ALIAS:
            need(row["target"] < before, "an alias is of no earlier tensor")
            target = numbered[row["target"]]
            need(
                target not in aliases and target not in factors,
                "an alias is of a tensor that cannot be shared",
            )
        before += len(tensor_names(name, row))


def read_fields(part: bytes, count: int, wide: bool = False) -> list[dict[str, Any]]:
    table = Bytes(inflate(part, 128 * count))
    kinds = [table.varint(most=2**14 - 1) for _ in range(count)] if wide else []
    need(not wide or any(kind > RANDOM for kind in kinds), "there is no wide kind")
    heads = table.take(count)
    rows = [head(*pair) for pair in (zip(kinds, heads, strict=True) if wide else map(narrow, heads))]

    def of(*kinds: int) -> list[dict[str, Any]]:
        return [row for row in rows if row["kind"] in kinds]

    levels = of(LEVELS)
    for row in rows:
        row["ndim"] = (
            0 if row["kind"] == ALIAS else 2 if row["kind"] in (MASK, FULL_MASK) else table.varint(most=8)
        )
    for row in rows:
        row["shape"] = tuple(table.varint(most=2**33) for _ in range(row["ndim"]))
    step = 0
    for row in of(LEVELS, RANDOM):
        row["step"] = step = step + table.zigzag(2**40)
    read_levels(levels, table)
    for row in of(PLANES):
        row["stored"] = table.varint()
    for row in of(ALIAS):
        row["target"] = table.varint()
    for row in of(CONSTANT):
        row["entry"] = table.take(SIZES[row["type"]])
    for what, least, most in (("seed", 0, 2**32 - 1), ("size", 1, 2**8), ("bits", 8, 20)):
        for row in of(RANDOM):
            row[what] = table.varint(least, most)
    for row in of(RANDOM):
        row["blocks"] = -(-math.prod(row["shape"]) // row["size"])
    table.end()
    return rows


def narrow(byte: int) -> tuple[int, int]:
    return byte // 32, byte % 32


def head(kind: int, code: int) -> dict[str, Any]:
    need(kind <= RANDOM, "a kind is unknown")
    need(code < len(TYPES), "a type is unknown")
    need(code == 0 or kind not in (ALIAS, MASK, FULL_MASK), "a record without a type has one")
    need(code < 4 or kind not in (LEVELS, RANDOM), "levels have a type that cannot be")
    return {"kind": kind, "code": code, "type": TYPES[code]}


def read_levels(levels: list[dict[str, Any]], table: Bytes) -> None:
    for row in levels:
        row["offset"] = table.zigzag(LIMIT - 1)
    for row in levels:
        row["coding"] = table.varint(most=15)
    for row in levels:
        row["alphabet"] = table.varint(2, 2**12) if row["coding"] & 8 else 0
    for row in levels:
        row["row offset"] = table.zigzag(128) if row["coding"] & 2 else 0
    for row in levels:
        row["column offset"] = table.zigzag(128) if row["coding"] & 4 else 0


def check_row(row: dict[str, Any]) -> None:
    n, kind = math.prod(row["shape"]), row["kind"]
    need(math.prod(max(size, 1) for size in row["shape"]) <= 2**33, "a tensor is too large")
    need(kind not in (MASK, FULL_MASK) or n < 2**31, "a support is too large")
    need(n or kind not in (CONSTANT, MASK), "an empty record has another kind")
    if kind in (LEVELS, RANDOM):
        need(-2016 <= row["step"] <= 2047, "a step is beyond its limits")
    if kind == LEVELS:
        need(n or not row["coding"] & 14, "an empty tensor has something in the streams")
        need(row["coding"] & 9 != 9, "static levels have a model")
    if kind == RANDOM:
        need(0 < n <= 2**21, "a random tensor has too few or too many entries")


# -- products -------------------------------------------------------------------------------------------


def check_products(found: Tables) -> None:
    """Check that the factors of products exist and fit."""
    at = {name: place for place, name in enumerate(found.names)}
    for name, shape in found.products.items():
        first, second = (at.get(f"{name}{part}") for part in (".coefficients", ".basis"))
        need(first is not None and second == first + 1, "a product lacks its factors")
        codes, basis = found.rows[first], found.rows[second]
        for row, ndim in ((codes, 2), (basis, 3)):
            need(row["kind"] == LEVELS and not row["coding"] & 6 and row["ndim"] == ndim, "a factor is none")
        need(codes["step"] == 0 and codes["type"] == basis["type"], "the factors differ")
        need(basis["step"] - 7 * 16 >= -2016, "the step of a product is too low")
        (n, size), (groups, size2, size3) = codes["shape"], basis["shape"]
        need(size == size2 == size3 and 1 <= size <= 64 and groups >= 1, "the factors do not fit together")
        need(math.prod(shape) == n * size, "the factors do not fit the shape")
        need(shape[0] % groups == 0 and n % groups == 0, "the groups do not fit the shape")
