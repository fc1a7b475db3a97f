"""Bytes to a document, whatever the bytes are: all of it or an error, and no more memory than they are worth.

The order is: the hash of the file, the tables with a bound on every number, the bounds on what the streams can hold and
on what may come out, the streams, the hash of the content. Only then is anything made that a few bytes can make large.
Whatever is large is made piece by piece, in the memory that it was decoded into: beside what comes out, reading takes
at most half of it, and 64 MiB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from szilard.coding import CodingError
from szilard.file import sections
from szilard.file.decoding import Decoding, Keep
from szilard.file.error import Broken
from szilard.file.fields import Cost, Fields
from szilard.file.kinds import product
from szilard.file.opening import open_file, told
from szilard.file.records import Document, Record
from szilard.file.tables import Tables, tables
from szilard.kernels import native

MOST_OUTPUT = 8 << 30
"""Bytes of tensors that a file may hold, unless the caller says otherwise."""

_MOST_DECISIONS = 40_000_000  # that the decoder in Python takes in about a minute


def read(path: str | Path, *, max_bytes: int = MOST_OUTPUT, slow: bool = False) -> Document:
    """Read a file into numpy arrays; torch is not needed.

    Args:
        path: of a ``.szd`` file.
        max_bytes: refuse a file whose tensors take more. Reading it takes at most half of that beside them, and 64 MiB.
        slow: read it even where that takes more than a minute, because there are no C++ kernels.

    Raises:
        SzilardFileError: it is not there, or no whole and valid file.
    """
    return open_file(path, lambda data: decode(tables(data), max_bytes, slow=slow))


def loads(data: bytes, *, max_bytes: int = MOST_OUTPUT, slow: bool = False) -> Document:
    """As :func:`read`, from bytes."""
    return told("the .szd file", lambda: decode(tables(bytes(data)), max_bytes, slow=slow))


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
    """The tensors.

    Args:
        keep: what the document holds of them. Of values that cannot be large without being constants or full supports,
            those are still to be made, by :func:`szilard.file.as_arrays.arrays`.
        slow: as :func:`read`.
        costs: is given the bits of each record's values, and of its scales and table, which makes decoding slower.
        give: is given each record as it is decoded, before the hash is compared; the document then has none.
        held: is given the bytes of the tensors of each coded support.

    Raises:
        Broken: they would take more than ``max_bytes``, the stream is broken or the hash of the content is another.
    """
    if tables.output_bytes > max_bytes:
        raise Broken(
            f"its tensors take {tables.output_bytes} bytes and {max_bytes} are allowed; allow more with max_bytes"
        )
    if not slow and not native.available() and tables.decisions > _MOST_DECISIONS:
        raise Broken(
            f"without the C++ kernels it may take over a minute; {native.REINSTALL}, or ask for it with slow=True"
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
        raise Broken("its tensors are not those that were written: their hash is another")
    return Document(found, product.without(tables.meta))


def _each(tables: Tables, decoding: Decoding) -> Iterator[tuple[Record | None, list[Cost]]]:
    """All records in order, products in place of their factors, and what their records cost."""
    table = list(zip(tables.names, tables.fields, strict=True))
    counted = bool(tables.parts.flags & sections.PRODUCTS)
    number = 0
    while number < len(table):
        if number in tables.products:
            name, shape = tables.products[number]
            yield product.decode(name, shape, table[number : number + 2], counted, decoding)
            number += 2
        else:
            yield _one(*table[number], decoding)
            number += 1


def _one(name: str, fields: Fields, decoding: Decoding) -> tuple[Record | None, list[Cost]]:
    """The next record. It is nobody's variable here: while the next one is decoded, it may be gone."""
    record, cost = fields.decode(name, decoding)
    return record, [cost]
