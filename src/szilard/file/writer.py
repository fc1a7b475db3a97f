"""A document to bytes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from szilard import atomic
from szilard.coding import LARGEST
from szilard.coding.static import Table
from szilard.file import dtypes, ledger, meta, names, random, raw, sections, steps
from szilard.file.digest import Content
from szilard.file.error import Broken, SzilardFileError
from szilard.file.fields import (
    INDEX_BITS,
    MOST_BLOCK,
    MOST_DIMENSIONS,
    MOST_ELEMENTS,
    MOST_MASK,
    MOST_RANDOM,
    MOST_RECORDS,
    PLAIN,
    Coding,
    Fields,
    Kind,
)
from szilard.file.fields import pack as pack_fields
from szilard.file.ledger import Ledger
from szilard.file.levels import Streams, plan, put, table_bits
from szilard.file.products import fold
from szilard.file.records import (
    Alias,
    Constant,
    Document,
    Levels,
    Mask,
    Product,
    Random,
    Raw,
    Record,
    Shape,
    matrix,
    tensor_names,
)


def write(path: str | Path, document: Document) -> Ledger:
    """Write a file, in one step: a reader, a kill or a power cut sees the old file or the new one.

    Raises:
        SzilardFileError: the document breaks a rule of the format.
        SzilardError: the disk is full or the folder cannot be written to; the previous file stays.
    """
    data, found = encode(document)
    atomic.write(Path(path), data, follow=True)
    return found


def dumps(document: Document) -> bytes:
    """The bytes of a file.

    Raises:
        SzilardFileError: the document breaks a rule of the format.
    """
    return encode(document)[0]


def encode(document: Document) -> tuple[bytes, Ledger]:
    """The bytes of a file, and where they go.

    Raises:
        SzilardFileError: as :func:`dumps`.
    """
    document, products = fold(document)
    if len(document.records) > MOST_RECORDS:
        raise SzilardFileError(
            f"a file holds at most {MOST_RECORDS} tensors, not {len(document.records)}; split them"
        )
    blocks = names.pack([record.name for record in document.records]), meta.pack(document.meta)
    data, found = _encode(document, products, *blocks, static=frozenset())
    if static := _cheaper_by_table(document, found):
        attempt = _encode(document, products, *blocks, static=static)
        if len(attempt[0]) < len(data):
            return attempt
    return data, found


def _encode(
    document: Document,
    products: Mapping[int, Product],
    names_block: bytes,
    meta_block: bytes,
    static: frozenset[str],
) -> tuple[bytes, Ledger]:
    """As :func:`encode`, with some of the records in the static stream."""
    writer = _Writer(static, products)
    for record in document.records:
        writer.add(record)
    adaptive_stream, static_stream = writer.streams.finish(any(fields.symbols for fields in writer.table))
    parts = sections.Parts(
        count=len(writer.table),
        names=names_block,
        fields=pack_fields(writer.table),
        meta=meta_block,
        adaptive=adaptive_stream,
        static=static_stream,
        raw=b"".join(writer.raw),
        content=writer.content.digest(),
        flags=sections.PRODUCTS if products else 0,
    )
    output = sum(fields.output_bytes for fields in writer.table)
    tensors = ledger.tensor_bytes(
        writer.table,
        products,
        sum(math.prod(one.shape) * dtypes.named(one.dtype).size for one in products.values()),
        [
            int(record.mask.sum())
            for record, fields in zip(document.records, writer.table, strict=True)
            if isinstance(record, Mask) and fields.kind == Kind.MASK
        ],
    )
    return sections.join(parts), ledger.of_parts(parts, writer.entries, output, dict(document.meta), tensors)


def _cheaper_by_table(document: Document, adaptive: Ledger) -> frozenset[str]:
    """The records of levels that may take fewer bits under a table of their own than they took."""
    found = set()
    for record, entry in zip(document.records, adaptive.entries, strict=True):
        if not isinstance(record, Levels) or not record.levels.size:
            continue
        table = Table.of(record.levels)
        if table is not None and table.bits(record.levels) + table_bits(table) < (entry.bits or 0):
            found.add(record.name)
    return frozenset(found)


class _Writer:
    """Takes records one by one."""

    def __init__(self, static: frozenset[str], products: Mapping[int, Product]) -> None:
        self.streams = Streams()
        self.table: list[Fields] = []
        self.raw: list[bytes] = []
        self.entries: list[ledger.Entry] = []
        self.content = Content()
        self._numbers: dict[str, int] = {}  # of the tensors that came before
        self._aliases: set[str] = set()
        self._static = static
        self._products = products

    def add(self, record: Record) -> None:
        if isinstance(record, Raw):
            fields = self._raw(record)
        elif isinstance(record, Constant):
            fields = self._constant(record)
        elif isinstance(record, Alias):
            fields = self._alias(record)
        elif isinstance(record, Levels):
            fields = self._levels(record)
        elif isinstance(record, Random):
            fields = self._random(record)
        elif isinstance(record, Mask):
            fields = self._mask(record)
        else:  # products have been folded
            raise SzilardFileError(f"{record.name} is no record that a file can hold; store it raw")
        bits, side_bits = (
            put(self.streams, record, fields) if isinstance(record, Levels | Mask) else (0.0, 0.0)
        )
        self.table.append(fields)
        self.entries.append(ledger.of_entry(record.name, fields, bits, side_bits))
        for name in tensor_names(record):
            if name in self._numbers:
                raise SzilardFileError(f"two tensors have the name {name}; rename one")
            self._numbers[name] = len(self._numbers)

    def _raw(self, record: Raw) -> Fields:
        dtype = dtypes.named(record.dtype)
        size = _size(record.name, record.shape) * dtype.size
        if len(record.data) != size:
            raise SzilardFileError(
                f"{record.name} has {len(record.data)} bytes and its shape wants {size}; mend the record"
            )
        self.content.tensor(record.name, dtype, record.shape, [record.value()])
        planes = raw.pack(bytes(record.data), dtype.size)
        if len(planes) + 2 < size:  # what the table says of it
            self.raw.append(planes)
            return Fields(Kind.PLANES, dtype, record.shape, stored=len(planes))
        self.raw.append(bytes(record.data))
        return Fields(Kind.RAW, dtype, record.shape)

    def _constant(self, record: Constant) -> Fields:
        dtype = dtypes.named(record.dtype)
        if not _size(record.name, record.shape) or len(record.data) != dtype.size:
            raise SzilardFileError(
                f"the constant {record.name} is empty or has no entry of its type; make it raw"
            )
        self.content.constant(record.name, dtype, record.shape, record.data)
        return Fields(Kind.CONSTANT, dtype, record.shape, data=record.data)

    def _alias(self, record: Alias) -> Fields:
        if record.target not in self._numbers or record.target in self._aliases:
            raise SzilardFileError(
                f"{record.name} shares {record.target}, which is no tensor before it with its own storage; name one"
            )
        self._aliases.add(record.name)
        number = self._numbers[record.target]
        self.content.alias(record.name, number)
        return Fields(Kind.ALIAS, None, target=number)

    def _levels(self, record: Levels) -> Fields:
        dtype = _check_levels(record)
        coding = Coding.ROW_SCALE if record.row_scale is not None else PLAIN
        coding |= Coding.COL_SCALE if record.col_scale is not None else PLAIN
        fields = Fields(Kind.LEVELS, dtype, record.shape, step=record.step, coding=coding)
        fields = plan(self.streams.adaptive, record, fields, record.name in self._static)
        number = len(self.table)
        if number in self._products:
            self._values(self._products[number], dtype)
        elif number - 1 not in self._products:
            self._values(record, dtype)
        return fields

    def _values(self, record: Levels | Random | Product, dtype: dtypes.DType) -> None:
        """Take what a reader will make into the hash."""
        try:
            pieces = [record.value()] if isinstance(record, Random) else record.pieces()
            self.content.tensor(record.name, dtype, record.shape, _finite(record.name, dtype, pieces))
        except Broken as error:
            raise SzilardFileError(f"{error}; make the factors again") from error

    def _random(self, record: Random) -> Fields:
        self._values(record, dtype := _check_random(record))
        self.raw.append(random.pack(record.indices, record.bits))
        return Fields(
            Kind.RANDOM,
            dtype,
            record.shape,
            step=record.step,
            seed=record.seed,
            size=record.size,
            bits=record.bits,
        )

    def _mask(self, record: Mask) -> Fields:
        if record.mask.shape != record.shape or len(record.shape) != 2 or record.mask.dtype != bool:
            raise SzilardFileError(
                f"the mask of {record.name} must be a bool matrix of its shape; mend the record"
            )
        if _size(record.name, record.shape) > MOST_MASK:
            raise SzilardFileError(
                f"the support {record.name} is larger than {MOST_MASK} entries; split the weight"
            )
        full = bool(record.mask.all())
        self.content.mask(record.name, record.shape, None if full else record.mask)
        return Fields(Kind.FULL_MASK if full else Kind.MASK, None, record.shape)


def _finite(name: str, dtype: dtypes.DType, pieces: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The pieces of a tensor, while they are numbers."""
    for piece in pieces:
        if not dtypes.all_finite(piece, dtype):
            raise SzilardFileError(f"{name} has values beyond its type; take a smaller step")
        yield piece


def _check_levels(record: Levels) -> dtypes.DType:
    dtype = dtypes.named(record.dtype)
    if not dtype.holds_levels:
        raise SzilardFileError(f"{record.name} is of type {dtype.name}, which levels cannot be; store it raw")
    _size(record.name, record.shape)
    levels = record.levels
    if levels.shape != record.shape or not np.issubdtype(levels.dtype, np.signedinteger):
        raise SzilardFileError(f"the levels of {record.name} must be integers of its shape; mend the record")
    if levels.size and max(-int(levels.min()), int(levels.max())) > LARGEST:
        raise SzilardFileError(f"the levels of {record.name} are beyond ±{LARGEST}; take a larger step")
    if not steps.LOWEST <= record.step <= steps.HIGHEST:
        raise SzilardFileError(
            f"the step code {record.step} of {record.name} is beyond float32; scale the tensor"
        )
    for codes, length in zip((record.row_scale, record.col_scale), matrix(record.shape), strict=True):
        if codes is not None and (codes.dtype != np.int8 or codes.shape != (length,) or not levels.size):
            raise SzilardFileError(f"scales of {record.name} must be {length} int8 codes; mend the record")
    return dtype


def _check_random(record: Random) -> dtypes.DType:
    dtype = dtypes.named(record.dtype)
    if not dtype.holds_levels:
        raise SzilardFileError(
            f"{record.name} is of type {dtype.name}, which random levels cannot be; store it raw"
        )
    count = _size(record.name, record.shape)
    fewest, most = INDEX_BITS
    if not (0 < count <= MOST_RANDOM and 1 <= record.size <= MOST_BLOCK and fewest <= record.bits <= most):
        raise SzilardFileError(
            f"{record.name} must have 1 to {MOST_RANDOM} entries, in blocks of 1 to {MOST_BLOCK}, and indices of "
            f"{fewest} to {most} bits; mend the record"
        )
    indices = record.indices
    if indices.shape != (-(-count // record.size),) or not np.issubdtype(indices.dtype, np.unsignedinteger):
        raise SzilardFileError(f"{record.name} must have one unsigned index for each block; mend the record")
    if int(indices.max()) >> record.bits or not 0 <= record.seed < 1 << 32:
        raise SzilardFileError(f"an index or the seed of {record.name} is too large; mend the record")
    if not steps.LOWEST <= record.step <= steps.HIGHEST:
        raise SzilardFileError(
            f"the step code {record.step} of {record.name} is beyond float32; scale the tensor"
        )
    return dtype


def _size(name: str, shape: Shape) -> int:
    if len(shape) > MOST_DIMENSIONS or math.prod(max(size, 1) for size in shape) > MOST_ELEMENTS:
        raise SzilardFileError(f"{name} of shape {list(shape)} is larger than the format allows; split it")
    return math.prod(shape)
