"""A document to bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from szilard import atomic
from szilard.file import columns, dtypes, kinds, ledger, meta, names, sections
from szilard.file.encoding import Encoding
from szilard.file.error import SzilardFileError
from szilard.file.factors import encode_factor, fold
from szilard.file.fields import Cost, Fields
from szilard.file.kinds.levels import Levels, cheaper_by_table
from szilard.file.kinds.product import Product
from szilard.file.ledger import Ledger
from szilard.file.limits import MOST_RECORDS
from szilard.file.records import Document, Record


def write(path: str | Path, document: Document) -> Ledger:
    """Write a file atomically: after a kill or a power cut there is the old file or the new one.

    Raises:
        SzilardFileError: the document breaks a rule of the format.
        SzilardError: the disk is full or the folder is not writable; the previous file stays.
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
    """The bytes of a file, and how many each part takes.

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
    encoding = Encoding(static)
    table: list[Fields] = []
    entries: list[ledger.Entry] = []
    for number, record in enumerate(document.records):
        fields, cost = _record(number, record, products, encoding)
        table.append(fields)
        entries.append(ledger.of_entry(record.name, fields, *cost))
        _number(record.name, fields, encoding)
    adaptive_stream, static_stream = encoding.finish(any(fields.symbols for fields in table))
    parts = sections.Parts(
        count=len(table),
        names=names_block,
        fields=columns.pack(table),
        meta=meta_block,
        adaptive=adaptive_stream,
        static=static_stream,
        raw=b"".join(encoding.raw),
        content=encoding.content.digest(),
        flags=(sections.PRODUCTS if products else 0) | (sections.WIDE if columns.wide(table) else 0),
    )
    output = sum(fields.output_bytes for fields in table)
    tensors = ledger.tensor_bytes(
        table,
        products,
        sum(math.prod(one.shape) * dtypes.named(one.dtype).size for one in products.values()),
        encoding.held,
    )
    return sections.join(parts), ledger.of_parts(parts, entries, output, dict(document.meta), tensors)


def _record(
    number: int, record: Record, products: Mapping[int, Product], encoding: Encoding
) -> tuple[Fields, Cost]:
    """Write one record to the parts of the file."""
    if isinstance(record, Levels) and (number in products or number - 1 in products):
        return encode_factor(record, products.get(number), encoding)
    return kinds.of_record(record).encode(record, encoding)


def _number(name: str, fields: Fields, encoding: Encoding) -> None:
    """Number the tensors of a record, for later aliases."""
    for tensor in fields.tensors(name):
        if tensor in encoding.numbers:
            raise SzilardFileError(f"two tensors have the name {tensor}; rename one")
        encoding.numbers[tensor] = len(encoding.numbers)


def _cheaper_by_table(document: Document, adaptive: Ledger) -> frozenset[str]:
    """The records of levels that are likely to take fewer bits under their own table than in the adaptive stream."""
    return frozenset(
        record.name
        for record, entry in zip(document.records, adaptive.entries, strict=True)
        if isinstance(record, Levels) and cheaper_by_table(record, entry.bits or 0)
    )
