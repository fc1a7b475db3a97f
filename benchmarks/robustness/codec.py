"""A .szd file as a draft that can be changed anywhere and written again: the tables of docs/format.md, unchecked.

Nothing of szilard is used. The content may be invalid, but the deflate streams, lengths and hashes are valid, so that a
reader must check the content. The streams can be made to match any tables (:func:`fit_streams`), because almost any
bytes decode to some values.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import random
import zlib
from dataclasses import dataclass, field
from typing import Any

import szd_reference as reference
from szd_streams import Adaptive, Static

MOST_WORK = 5_000  # limit of entries for the slow reference reader
RAW, PLANES, CONSTANT, ALIAS, LEVELS, MASK, FULL_MASK, RANDOM = range(8)
SIZES = [reference.SIZES[name] for name in reference.TYPES]


@dataclass
class Record:
    """One record; fields that its kind does not have are stored, but not written."""

    name: bytes
    kind: int
    code: int = 0
    shape: list[int] = field(default_factory=list)
    step: int = 0
    offset: int = 0
    coding: int = 0
    alphabet: int = 2
    row_offset: int = 0
    column_offset: int = 0
    target: int = 0
    entry: bytes = b""
    seed: int = 0
    size: int = 1
    bits: int = 8
    raw: bytes = b""  # bytes of the record in the raw part


@dataclass
class Draft:
    """A file that is being changed.

    Attributes:
        meta: an object to encode as JSON, or raw bytes; None for no metadata.
        count: number of records in the prefix; None for the correct number.
    """

    records: list[Record]
    meta: Any = None
    adaptive: bytes = b""
    static: bytes = b""
    flags: int = 0
    count: int | None = None
    content: bytes = bytes(16)

    def copy(self) -> Draft:
        return copy.deepcopy(self)


# -- integers and streams -------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    out, value = bytearray(), max(value, 0)
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def zigzag(value: int) -> bytes:
    return varint(2 * value if value >= 0 else -2 * value - 1)


def deflate(data: bytes, dictionary: bytes = b"") -> bytes:
    coder = zlib.compressobj(
        9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, *([dictionary] * bool(dictionary))
    )
    return coder.compress(data) + coder.flush()


# -- reading --------------------------------------------------------------------------------------------


def read(data: bytes) -> Draft:
    """The draft of a valid file."""
    tables = reference.tables(data)
    raw = reference.Bytes(tables.raw)
    records = []
    for name, row in zip(tables.names, tables.rows, strict=True):
        same = {key: row[key] for key in ("kind", "code", "step", "offset", "coding", "alphabet", "target", "entry",
                                          "seed", "size", "bits") if key in row}  # fmt: skip
        records.append(
            Record(
                name.encode(),
                shape=list(row["shape"]),
                row_offset=row.get("row offset", 0),
                column_offset=row.get("column offset", 0),
                raw=raw.take(reference.raw_bytes(row)),
                **same,
            )
        )
    products = {reference.PRODUCTS: {name: list(shape) for name, shape in tables.products.items()}}
    meta = {**tables.meta, **(products if tables.products else {})} or None
    return Draft(records, meta, tables.adaptive, tables.static, tables.flags, None, tables.content)


# -- writing --------------------------------------------------------------------------------------------


def names_table(draft: Draft) -> bytes:
    shared, rest, before = b"", b"", b""
    for record in draft.records:
        length = next((i for i, (a, b) in enumerate(zip(before, record.name, strict=False)) if a != b), None)
        length = min(len(before), len(record.name)) if length is None else length
        shared += varint(length)
        rest += record.name[length:] + b"\0"
        before = record.name
    return shared + rest


def fields_table(draft: Draft) -> bytes:
    def of(*kinds: int) -> list[Record]:
        return [record for record in draft.records if record.kind & 7 in kinds]

    levels = of(LEVELS)
    typed = [record for record in draft.records if record.kind & 7 not in (ALIAS, MASK, FULL_MASK)]
    shaped = [record for record in draft.records if record.kind & 7 != ALIAS]
    out = bytes((record.kind << 5 | record.code) & 255 for record in draft.records)
    out += b"".join(varint(len(record.shape)) for record in typed)
    for record in shaped:
        shape = record.shape if record in typed else [*record.shape, 0, 0][:2]
        out += b"".join(map(varint, shape))
    before = 0
    for record in of(LEVELS, RANDOM):
        out += zigzag(record.step - before)
        before = record.step
    out += b"".join(zigzag(record.offset) for record in levels)
    out += b"".join(varint(record.coding) for record in levels)
    out += b"".join(varint(record.alphabet) for record in levels if record.coding & 8)
    out += b"".join(zigzag(record.row_offset) for record in levels if record.coding & 2)
    out += b"".join(zigzag(record.column_offset) for record in levels if record.coding & 4)
    out += b"".join(varint(len(record.raw)) for record in of(PLANES))
    out += b"".join(varint(record.target) for record in of(ALIAS))
    out += b"".join(record.entry for record in of(CONSTANT))
    for what in ("seed", "size", "bits"):
        out += b"".join(varint(getattr(record, what)) for record in of(RANDOM))
    return out


def meta_bytes(meta: Any) -> bytes:
    return (
        meta
        if isinstance(meta, bytes)
        else json.dumps(meta, ensure_ascii=False).encode("utf-8", "surrogatepass")
    )


def write(draft: Draft, names: bytes | None = None, fields: bytes | None = None) -> bytes:
    """The file with a correct file hash; the content hash is taken from the draft.

    Args:
        names, fields: replacements of the draft's tables, before compression.
    """
    parts = [
        deflate(names_table(draft) if names is None else names, reference.DICTIONARY),
        deflate(fields_table(draft) if fields is None else fields),
        b"" if draft.meta is None else deflate(meta_bytes(draft.meta)),
        draft.adaptive,
        draft.static,
    ]
    count = len(draft.records) if draft.count is None else draft.count
    lengths = b"".join(varint(len(part)) for part in parts)
    head = b"SZD1" + bytes([draft.flags & 255]) + varint(count) + lengths
    return seal(head + b"".join(parts) + b"".join(record.raw for record in draft.records) + draft.content)


def seal(body: bytes) -> bytes:
    """``body`` followed by its hash."""
    return body + hashlib.blake2b(body, digest_size=8).digest()


def with_content(data: bytes, content: bytes) -> bytes:
    """The file with a different content hash."""
    return seal(data[:-24] + content)


# -- making parts fit -----------------------------------------------------------------------------------


class Endless(Adaptive):
    """An adaptive stream that never ends."""

    def __init__(self, data: bytes, rng: random.Random, style: int) -> None:
        self.rng, self.style = rng, style
        super().__init__(data)

    def byte(self) -> None:
        if self.at >= len(self.data):
            fresh = {0: self.rng.randbytes(64), 1: bytes(64), 2: b"\xff" * 64}.get(
                self.style, self.rng.randbytes(2) * 32
            )
            self.data += fresh
        super().byte()

    def end(self) -> None:
        pass


class EndlessStatic(Static):
    """A static stream that never ends."""

    def __init__(self, data: bytes, rng: random.Random, style: int) -> None:
        self.rng, self.style = rng, style
        super().__init__(data[: len(data) // 4 * 4])

    def word(self) -> None:
        if self.at >= len(self.words):
            self.words = (*self.words, self.rng.getrandbits(32) if self.style != 1 else 0)
        super().word()

    def end(self) -> None:
        """End as an encoder does: at the lower end of the interval."""
        if self.asked:
            if self.point < self.lower:  # the words before would also change
                raise reference.Refused("no end was found")
            self.words = (*self.words[: self.at - 2], self.lower >> 32, self.lower % 2**32)


def rehashed(data: bytes) -> bytes:
    """The file with the content hash of the reference reader, also for invalid tables; unchanged if it has none."""
    for checked in (True, False):
        try:
            found = reference.decode(reference.tables(data, checked=checked), MOST_WORK)
        except (reference.Refused, reference.TooLarge):
            continue
        return with_content(data, found.content)
    return data


def fit_raw(draft: Draft, rng: random.Random) -> None:
    """Give every record the number of raw bytes that its fields require, in place."""
    for record in draft.records:
        elements, blocks = math.prod(record.shape), 0
        if record.kind == RAW and record.code < len(SIZES):
            wanted = elements * SIZES[record.code]
        elif record.kind == RANDOM and record.size > 0 and record.bits > 0:
            blocks = -(-elements // record.size)
            wanted = -(-blocks * record.bits // 8)
        else:
            if record.kind not in (PLANES, RAW, RANDOM):
                record.raw = b""
            continue
        if wanted <= MOST_WORK:
            record.raw = (record.raw + rng.randbytes(max(0, wanted - len(record.raw))))[:wanted]
            unused = -blocks * record.bits % 8 if record.kind == RANDOM else 0
            if unused and record.raw:
                record.raw = record.raw[:-1] + bytes([record.raw[-1] >> unused << unused])
            if record.kind == RAW and record.code == 9:
                record.raw = bytes(byte & 1 for byte in record.raw)


def fit_streams(draft: Draft, rng: random.Random, *, keep: bool = True) -> bytes | None:
    """Make the streams hold exactly the values of the tables; return the content hash, or None if it is impossible.

    Args:
        keep: start with the present bytes.
    """
    draft.content = bytes(16)
    try:
        tables = reference.tables(write(draft), checked=False)
    except reference.Refused:
        return None
    styles = rng.choices(range(4), (5, 1, 1, 3), k=2)
    streams = (
        Endless(draft.adaptive if keep else b"", rng, styles[0]),
        EndlessStatic(draft.static if keep else b"", rng, styles[1]),
    )
    try:
        found = reference.decode(tables, MOST_WORK, streams)
    except (reference.Refused, reference.TooLarge):
        return None
    draft.adaptive = streams[0].data[: streams[0].at] if streams[0].asked else b""
    words = streams[1].words if streams[1].asked else ()
    draft.static = b"".join(word.to_bytes(4, "little") for word in words)
    draft.content = found.content
    return found.content
