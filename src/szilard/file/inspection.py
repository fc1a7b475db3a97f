"""Looking at a file without its network."""

from __future__ import annotations

from pathlib import Path

from szilard.file import ledger
from szilard.file.fields import Fields
from szilard.file.ledger import Ledger
from szilard.file.levels import Streams, put
from szilard.file.reader import MOST_OUTPUT, Tables, decode, open_file, tables
from szilard.file.records import Document, Levels, Mask


def inspect(path: str | Path, *, tensors: bool = False, max_bytes: int = MOST_OUTPUT) -> Ledger:
    """Where the bytes of a file are.

    Without ``tensors`` nothing is decoded: the file's own hash is checked and its tables are read. They say how long
    each stream is and not which tensor has how much of it.

    Args:
        path: the file.
        tensors: decode the streams and give each tensor its part of them.
        max_bytes: refuse to decode a file whose tensors take more.

    Raises:
        SzilardFileError: it is not there, or no whole and valid file.
    """

    def look(data: bytes) -> Ledger:
        found = tables(data)
        costs: list[tuple[float | None, float | None]] = [(None, None)] * len(found.fields)
        if tensors:
            costs = _costs(found.fields, decode(found, max_bytes))
        return _ledger(found, costs)

    return open_file(path, look)


def verify(path: str | Path, *, max_bytes: int = MOST_OUTPUT) -> Ledger:
    """Check a file: its hash, everything in it, and the hash of the tensors that come out.

    Raises:
        SzilardFileError: as :func:`inspect`.
    """

    def look(data: bytes) -> Ledger:
        found = tables(data)
        decode(found, max_bytes)
        return _ledger(found, [(None, None)] * len(found.fields))

    return open_file(path, look)


def _ledger(found: Tables, costs: list[tuple[float | None, float | None]]) -> Ledger:
    entries = [
        ledger.of_entry(name, fields, *cost)
        for name, fields, cost in zip(found.names, found.fields, costs, strict=True)
    ]
    return ledger.of_parts(found.parts, entries, found.output_bytes, found.meta)


def _costs(table: list[Fields], document: Document) -> list[tuple[float | None, float | None]]:
    """Bits of values and of scales: the tensors are coded once more, as they were."""
    streams = Streams()
    return [
        put(streams, record, fields) if isinstance(record, Levels | Mask) else (0.0, 0.0)
        for fields, record in zip(table, document.records, strict=True)
    ]
