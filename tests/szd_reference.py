"""A reader of .szd files written from docs/format.md alone: nothing of szilard, no numpy, slow.

It answers the bits of every tensor, so that a test can hold the library and the page against each other.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
import zlib
from bisect import bisect_right
from pathlib import Path

PAGE = (Path(__file__).parent.parent / "docs" / "format.md").read_text()
SIZES = {
    "float32": 4, "float16": 2, "bfloat16": 2, "float64": 8, "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1,
    "bool": 1, "complex64": 8, "complex128": 16, "uint16": 2, "uint32": 4, "uint64": 8, "float8_e4m3fn": 1,
    "float8_e5m2": 1,
}  # fmt: skip


def block(name: str) -> list[str]:
    """The words of a block of the page."""
    return PAGE.split(f"<!-- {name} -->\n```text\n")[1].split("```")[0].split()


def types() -> list[str]:
    """Names of the types by number, from the table of the page."""
    table = PAGE.split("<!-- types -->\n")[1].split("\n\n")[0]
    cells = [cell.split() for line in table.splitlines()[2:] for cell in line.strip("|").split("|")]
    numbered = {int(cell[0]): cell[1] for cell in cells if cell}
    return [numbered[code] for code in range(len(numbered))]


DICTIONARY = "".join(word + "\0" for word in block("dictionary")).encode()
MANTISSAS = [struct.unpack("<f", struct.pack("<I", int(word, 16)))[0] for word in block("mantissas")]
WEIGHTS = [int(word) for word in block("weights")]
TYPES = types()


class Bytes:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, n: int) -> bytes:
        assert self.at + n <= len(self.data)
        self.at += n
        return self.data[self.at - n : self.at]

    def varint(self) -> int:
        value = place = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << place
            place += 7
            if byte < 128:
                return value

    def zigzag(self) -> int:
        n = self.varint()
        return -(n + 1) // 2 if n % 2 else n // 2


def inflate(data: bytes, dictionary: bytes = b"") -> bytes:
    coder = zlib.decompressobj(-15, zdict=dictionary)
    found = coder.decompress(data)
    assert coder.eof
    assert not coder.unused_data
    return found


def sign(k: int) -> int:
    return (k > 0) - (k < 0) + 1


class Adaptive:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0
        self.range, self.code = 2**32 - 1, 0
        self.estimates: dict[tuple, list[int]] = {}
        for _ in range(4):
            self.byte()

    def byte(self) -> None:
        self.code = (self.code << 8 | (self.data[self.at] if self.at < len(self.data) else 0)) % 2**32
        self.at += 1

    def renormalise(self) -> None:
        while self.range < 2**24:
            self.range <<= 8
            self.byte()

    def bit(self, *place) -> bool:
        estimate = self.estimates.setdefault(place, [2**15, 0])
        p, n = estimate
        bound = (self.range >> 16) * p
        bit = self.code < bound
        if bit:
            self.range = bound
        else:
            self.code -= bound
            self.range -= bound
        self.renormalise()
        share = 131072 // (2 * n + 3)
        p += ((65535 if bit else 0) - p) * share >> 16
        estimate[:] = [min(65472, max(64, p)), min(96, n + 1)]
        return bit

    def plain(self) -> bool:
        self.range >>= 1
        bit = self.code >= self.range
        if bit:
            self.code -= self.range
        self.renormalise()
        return bit

    def matrix(self, rows: int, cols: int, model: str) -> list[int]:
        mask = model == "MASK"
        means = [512 if mask else 256] * cols
        found: list[list[int]] = []
        for r in range(rows):
            row = 512 if mask else 256
            found.append([])
            for c in range(cols):
                left = found[r][c - 1] if c else 0
                left2 = found[r][c - 2] if c > 1 else 0
                above = found[r - 1][c] if r else 0
                k = self.level(model, left, left2, above, means[c], row)
                found[r].append(k)
                seen = 4096 * k if mask else 256 * min(abs(k), 64)
                means[c] += (seen - means[c]) >> (4 if mask else 2)
                row += (seen - row) >> (5 if mask else 3)
        return [k for row in found for k in row]

    def level(self, model: str, left: int, left2: int, above: int, column: int, row: int) -> int:
        if model == "NEIGHBOURS":
            zero = 3 * sign(left) + min(2, min(2, abs(left)) + min(2, abs(left2)))
        elif model == "HISTORY":
            steps = (1, 2, 3, 5, 7, 10, 15)
            zero = 3 * (8 * bisect_right(steps, 3 * column >> 8) + bisect_right(steps, 3 * row >> 8)) + sign(
                left
            )
        else:
            steps = (32, 96, 224, 448, 896, 1600, 2800)
            zero = (
                3 * (8 * bisect_right(steps, column) + bisect_right(steps, row)) + (left != 0) + (above != 0)
            )
        if not self.bit(model, "zero", zero):
            return 0
        if model == "MASK":
            return 1
        negative = self.bit(model, "sign", 3 * sign(left) + sign(above))
        around = abs(left) + abs(left2)
        c = 0 if around == 0 else 1 if around <= 2 else 2 if around <= 6 else 3
        size = 1
        while size <= 14 and self.bit(model, "more", c, size - 1):
            size += 1
        if size == 15:
            b = 0
            while self.bit(model, "prefix", b):
                b += 1
            rest = 1
            for _ in range(b):
                rest = 2 * rest + self.plain()
            size = 14 + rest
        return -size if negative else size


class Static:
    def __init__(self, data: bytes) -> None:
        self.words = struct.unpack(f"<{len(data) // 4}I", data)
        self.at = 0
        self.lower, self.range, self.point = 0, 2**64 - 1, 0
        for _ in range(2):
            self.word()

    def word(self) -> None:
        self.point = (self.point << 32 | (self.words[self.at] if self.at < len(self.words) else 0)) % 2**64
        self.at += 1

    def levels(self, count: int, levels: list[int], codes: list[int]) -> list[int]:
        weights = [WEIGHTS[c % 8] >> c // 8 for c in codes]
        spare = 2**24 - len(levels)
        widths = [weight * spare // sum(weights) for weight in weights]
        widths[codes.index(0)] += spare - sum(widths)
        widths = [width + 1 for width in widths]
        assert max(widths) <= 2**24 - 2**14
        starts = [sum(widths[:i]) for i in range(len(widths))]
        found = []
        for _ in range(count):
            scale = self.range >> 24
            i = bisect_right(starts, (self.point - self.lower) % 2**64 // scale) - 1
            self.lower = (self.lower + scale * starts[i]) % 2**64
            self.range = scale * widths[i]
            if self.range < 2**32:
                self.lower, self.range = (self.lower << 32) % 2**64, self.range << 32
                self.word()
            found.append(levels[i])
        return found


def f32(value: float) -> float:
    return struct.unpack("<f", struct.pack("<f", value))[0]


def power(j: int) -> float:
    """2^(j/16)."""
    return f32(math.ldexp(MANTISSAS[j % 16], j // 16))


def encode(value: float, name: str) -> bytes:
    if name == "bfloat16":  # the float32 whose upper half is nearest; of two, the even one
        bits = struct.unpack("<I", struct.pack("<f", value))[0]
        low, up = bits & 0xFFFF, bits >> 16
        return struct.pack("<H", up + (low > 0x8000 or (low == 0x8000 and up % 2)))
    return struct.pack({"float32": "<f", "float16": "<e", "float64": "<d"}[name], value)


def read_names(part: bytes, count: int) -> list[str]:
    table = Bytes(inflate(part, DICTIONARY))
    shared = [table.varint() for _ in range(count)]
    names, before = [], b""
    for length, rest in zip(shared, table.data[table.at :].split(b"\0"), strict=False):
        before = before[:length] + rest
        names.append(before.decode())
    return names


def read_fields(part: bytes, count: int) -> list[dict]:
    table = Bytes(inflate(part))
    rows = [{"kind": head // 32, "type": head % 32} for head in table.take(count)]

    def of(kind: int) -> list[dict]:
        return [row for row in rows if row["kind"] == kind]

    levels = of(4)
    for row in rows:
        row["ndim"] = 0 if row["kind"] == 3 else 2 if row["kind"] in (5, 6) else table.varint()
    for row in rows:
        row["shape"] = tuple(table.varint() for _ in range(row["ndim"]))
    step = 0
    for row in [row for row in rows if row["kind"] in (4, 7)]:
        row["step"] = step = step + table.zigzag()
    read_levels(levels, table)
    for row in of(1):
        row["stored"] = table.varint()
    for row in of(3):
        row["target"] = table.varint()
    for row in of(2):
        row["entry"] = table.take(SIZES[TYPES[row["type"]]])
    for what in ("seed", "size", "bits"):
        for row in of(7):
            row[what] = table.varint()
    assert table.at == len(table.data)
    return rows


def read_levels(levels: list[dict], table: Bytes) -> None:
    for row in levels:
        row["offset"] = table.zigzag()
    for row in levels:
        row["coding"] = table.varint()
    for row in levels:
        row["alphabet"] = table.varint() if row["coding"] & 8 else 0
    for row in levels:
        row["row offset"] = table.zigzag() if row["coding"] & 2 else 0
    for row in levels:
        row["column offset"] = table.zigzag() if row["coding"] & 4 else 0


class Content:
    """The hash of what comes out."""

    def __init__(self) -> None:
        self.hash = hashlib.blake2b(digest_size=16)

    def head(self, name: str, code: int, dims: tuple[int, ...]) -> None:
        sizes = b"".join(size.to_bytes(8, "little") for size in dims)
        self.hash.update(name.encode() + b"\0" + bytes([code, len(dims)]) + sizes)

    def values(self, entries: bytes, size: int) -> None:
        equal = entries and entries == entries[:size] * (len(entries) // size)
        self.hash.update(b"\0" + entries[:size] if equal else b"\1" + entries)

    def bits(self, bits: list[int]) -> None:
        eights = [bits[i : i + 8] for i in range(0, len(bits), 8)]
        packed = bytes(sum(bit << place for place, bit in enumerate(eight)) for eight in eights)
        self.hash.update(b"\0" if all(bits) else b"\1" + packed)


Tensor = tuple[str, tuple[int, ...], bytes]


def read(data: bytes) -> tuple[dict[str, Tensor], dict]:
    """Every tensor as its type, shape and bytes; and the metadata."""
    assert data[:4] == b"SZD1"
    assert hashlib.blake2b(data[:-8], digest_size=8).digest() == data[-8:]
    assert data[4] < 32
    prefix = Bytes(data[5:-24])
    count = prefix.varint()
    lengths = [prefix.varint() for _ in range(5)]
    names, fields, meta, adaptive_part, static_part = (prefix.take(length) for length in lengths)
    raw = Bytes(prefix.data[prefix.at :])
    adaptive, static, content = Adaptive(adaptive_part), Static(static_part), Content()
    found: dict[str, Tensor] = {}
    integers: dict[str, tuple[int, list[int]]] = {}
    told = json.loads(inflate(meta)) if meta else {}
    products = told.pop("szilard.products", {})
    counted = products if data[4] & 16 else {}  # those whose factors are not part of the hash
    for name, row in zip(read_names(names, count), read_fields(fields, count), strict=True):
        kind, dtype, shape = row["kind"], TYPES[row["type"]], row["shape"]
        if kind == 3:
            found[name] = list(found.values())[row["target"]]
            content.head(name, 254, (row["target"],))
        elif kind in (5, 6):
            bits = adaptive.matrix(*shape, "MASK") if kind == 5 else [1] * math.prod(shape)
            found |= support(name, shape, bits)
            content.head(name, 255, shape)
            content.bits(bits)
        else:
            if kind == 4:
                entries, levels = dequantise(row, dtype, adaptive, static)
                integers[name] = row["step"], levels
            else:
                entries = drawn(row, dtype, raw) if kind == 7 else exact(row, dtype, raw)
            found[name] = (dtype, shape, entries)
            whole, _, part = name.rpartition(".")
            if kind == 4 and whole in counted and part in ("coefficients", "basis"):
                if part == "basis":
                    made = multiplied(found, integers, {whole: counted[whole]})[whole]
                    content.head(whole, row["type"], made[1])
                    content.values(made[2], SIZES[dtype])
                continue
            content.head(name, row["type"], shape)
            content.values(entries, SIZES[dtype])
    assert raw.at == len(raw.data)
    assert not adaptive_part or 0 <= adaptive.at - len(adaptive_part) <= 4
    assert content.hash.digest() == data[-24:-8]
    return multiplied(found, integers, products), told


def multiplied(
    found: dict[str, Tensor], integers: dict[str, tuple[int, list[int]]], products: dict[str, list[int]]
) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for part, tensor in found.items():
        name, _, what = part.rpartition(".")
        if name not in products or what not in ("coefficients", "basis"):
            tensors[part] = tensor
        if name not in products or what != "coefficients":
            continue
        (n, size), (dtype, (groups, _, _), _) = tensor[1], found[f"{name}.basis"]
        codes, (step, basis) = integers[part][1], integers[f"{name}.basis"]
        levels = []
        for i in range(n):
            first = i // (n // groups) * size * size
            row = [
                (k > 0) * 2 ** (8 - abs(k)) - (k < 0) * 2 ** (8 - abs(k)) for k in codes[i * size :][:size]
            ]
            levels += [sum(c * basis[first + s * size + j] for s, c in enumerate(row)) for j in range(size)]
        values = b"".join(encode(f32(k * power(step - 16 * 7)), dtype) for k in levels)
        tensors[name] = (dtype, tuple(products[name]), values)
    return tensors


def support(name: str, shape: tuple[int, int], bits: list[int]) -> dict[str, Tensor]:
    rows = [bits[r * shape[1] : (r + 1) * shape[1]] for r in range(shape[0])]
    crow = [sum(map(sum, rows[:r])) for r in range(shape[0] + 1)]
    col = [c for row in rows for c, bit in enumerate(row) if bit]
    return {
        f"{name}.crow": ("int32", (len(crow),), struct.pack(f"<{len(crow)}i", *crow)),
        f"{name}.col": ("int32", (len(col),), struct.pack(f"<{len(col)}i", *col)),
    }


def exact(row: dict, dtype: str, raw: Bytes) -> bytes:
    n, size = math.prod(row["shape"]), SIZES[dtype]
    if row["kind"] == 2:
        return row["entry"] * n
    if row["kind"] == 0:
        return raw.take(n * size)
    planes = inflate(raw.take(row["stored"]))
    assert len(planes) == n * size
    return bytes(planes[place * n + i] for i in range(n) for place in range(size))


def philox(seed: int, *counter: int) -> list[int]:
    a, b, c, d = counter
    key = [seed, 0]
    for _ in range(10):
        m, n = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = n >> 32 ^ b ^ key[0], n % 2**32, m >> 32 ^ d ^ key[1], m % 2**32
        key = [(key[0] + 0x9E3779B9) % 2**32, (key[1] + 0xBB67AE85) % 2**32]
    return [a, b, c, d]


def drawn(row: dict, dtype: str, raw: Bytes) -> bytes:
    n, bits, seed = math.prod(row["shape"]), row["bits"], row["seed"]
    blocks = -(-n // row["size"])
    size = -(-blocks * bits // 8)
    digits = f"{int.from_bytes(raw.take(size), 'big'):0{8 * size}b}"
    assert "1" not in digits[blocks * bits :]
    values = [b""] * n
    for place, e in enumerate(sorted(range(n), key=lambda e: philox(seed, e, 0, 0, 1)[0])):
        block = place // row["size"]
        words = philox(seed, place, int(digits[block * bits : (block + 1) * bits], 2), 0, 0)
        k = sum(sum(word.to_bytes(4, "little")) for word in words) - 2040
        values[e] = encode(f32(k * power(row["step"])), dtype)
    return b"".join(values)


def dequantise(row: dict, dtype: str, adaptive: Adaptive, static: Static) -> tuple[bytes, list[int]]:
    shape = row["shape"]
    n = math.prod(shape)
    rows, cols = (shape[0], math.prod(shape[1:])) if len(shape) > 1 else (1, n)
    row_scale, col_scale = [0] * rows, [0] * cols
    if row["coding"] & 2:
        row_scale = [k + row["row offset"] for k in adaptive.matrix(1, rows, "NEIGHBOURS")]
    if row["coding"] & 4:
        col_scale = [k + row["column offset"] for k in adaptive.matrix(1, cols, "NEIGHBOURS")]
    if not n:
        return b"", []
    if row["coding"] & 8:
        alphabet, codes = [row["offset"]], [0]
        for gap in adaptive.matrix(1, row["alphabet"] - 1, "NEIGHBOURS"):
            alphabet.append(alphabet[-1] + gap + 1)
        for rise in adaptive.matrix(1, row["alphabet"], "NEIGHBOURS"):
            codes.append(codes[-1] + rise)
        levels = static.levels(n, alphabet, codes[1:])
    else:
        levels = adaptive.matrix(rows, cols, "HISTORY" if row["coding"] & 1 else "NEIGHBOURS")
        levels = [k + row["offset"] for k in levels]
    values = []
    for i, k in enumerate(levels):
        scale = f32(
            f32(power(row["step"]) * power(2 * row_scale[i // cols])) * power(2 * col_scale[i % cols])
        )
        values.append(encode(f32(k * scale), dtype))
    return b"".join(values), levels
