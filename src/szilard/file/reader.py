"""Bytes to a document: any bytes give a complete document or an error, in bounded memory.

The order is: the hash of the file, the tables with a bound on every number, the bounds on the streams and on the
output, the streams, the hash of the content. Only then are tensors made that are large although their bytes are few.
Large tensors are made piece by piece, in the memory that they were decoded into: in addition to its output, reading
takes at most half as much memory and 64 MiB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from szilard.coding import CodingError
from szilard.file import factors, sections
from szilard.file.decoding import Decoding, Keep
from szilard.file.error import Broken
from szilard.file.fields import Cost, Fields
from szilard.file.opening import as_file_error, open_file
from szilard.file.records import Document, Record
from szilard.file.tables import Tables, tables
from szilard.kernels import native

MOST_OUTPUT = 8 << 30
"""Default limit on the bytes of a file's tensors."""

_MOST_DECISIONS = 40_000_000  # the decoder in Python takes about a minute for these


def read(path: str | Path, *, max_bytes: int = MOST_OUTPUT, slow: bool = False) -> Document:
    """Read a file into numpy arrays; torch is not needed.

    Args:
        path: of a ``.szd`` file.
        max_bytes: refuse a file whose tensors take more. Reading takes at most half as much in addition, and 64 MiB.
        slow: read it even if that takes more than a minute, because there are no C++ kernels.

    Raises:
        SzilardFileError: it does not exist, or is not a complete and valid file.
    """
    return open_file(path, lambda data: decode(tables(data), max_bytes, slow=slow))


def loads(data: bytes, *, max_bytes: int = MOST_OUTPUT, slow: bool = False) -> Document:
    """As :func:`read`, from bytes."""
    return as_file_error("the .szd file", lambda: decode(tables(bytes(data)), max_bytes, slow=slow))


def decode(
    tables: Tables,
    max_bytes: int,
    *,
    keep: Keep = Keep.RECORDS,
    slow: bool = False,
    costs: list[Cost] | None = None,
    give: Callable[[Record], None] | None = None,
    held: list[int] | None = None,
) -> Document:
    """Decode the tensors.

    Args:
        keep: what the document holds of them. With values, constants and full supports, which can be large, are still
            made later, by :func:`szilard.file.as_arrays.arrays`.
        slow: as :func:`read`.
        costs: a list to which the bits of each record's values, and of its scales and table, are appended; this makes
            decoding slower.
        give: is called with each record after it is decoded, before the hash is checked; the document then has none.
        held: a list to which the bytes of the tensors of each coded support are appended.

    Raises:
        Broken: they would take more than ``max_bytes``, the stream is broken or the hash of the content is wrong.
    """
    if tables.output_bytes > max_bytes:
        raise Broken(
            f"its tensors take {tables.output_bytes} bytes and {max_bytes} are allowed; allow more with max_bytes"
        )
    if not slow and not native.available() and tables.decisions > _MOST_DECISIONS:
        raise Broken(
            f"without the C++ kernels it can take over a minute; {native.REINSTALL}, or allow it with slow=True"
        )
    parts = tables.parts
    found: list[Record] = []
    try:
        decoding = Decoding(
            parts.adaptive, parts.static, parts.raw, tables.tensors, keep, priced=costs is not None
        )
        for record, cost in _each(tables, decoding):
            if costs is not None:
                costs += cost
            if record is not None and give is not None:
                give(record)
            elif record is not None and keep != Keep.NOTHING:
                found.append(record)
            del record
        decoding.finish()
    except CodingError as error:
        raise Broken("its coded levels are damaged") from error
    if held is not None:
        held += decoding.held
    if decoding.content.digest() != parts.content:
        raise Broken("its tensors are not those that were written: their hash is different")
    return Document(found, factors.without(tables.meta))


def _each(tables: Tables, decoding: Decoding) -> Iterator[tuple[Record | None, list[Cost]]]:
    """All records in order, with products in place of their factors, and the code length of each."""
    table = list(zip(tables.names, tables.fields, strict=True))
    counted = bool(tables.parts.flags & sections.PRODUCTS)
    number = 0
    while number < len(table):
        if number in tables.products:
            name, shape = tables.products[number]
            yield factors.decode(name, shape, table[number : number + 2], counted, decoding)
            number += 2
        else:
            yield _one(*table[number], decoding)
            number += 1


def _one(name: str, fields: Fields, decoding: Decoding) -> tuple[Record | None, list[Cost]]:
    """The next record. No variable here keeps it, so that it can be freed while the next one is decoded."""
    record, cost = fields.decode(name, decoding)
    return record, [cost]
