"""Inspecting a file without its network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from szilard.file import ledger
from szilard.file.decoding import Keep
from szilard.file.fields import Cost
from szilard.file.ledger import Ledger
from szilard.file.opening import open_file
from szilard.file.reader import MOST_OUTPUT, decode
from szilard.file.source import Source
from szilard.file.tables import Tables, tables


def inspect(
    path: str | Path, *, tensors: bool = False, max_bytes: int = MOST_OUTPUT, slow: bool = False
) -> Ledger:
    """How many bytes each part of a file takes.

    Without ``tensors`` nothing is decoded: the file's hash is checked and its tables are read. They give the length of
    each stream, not the share of each tensor.

    Args:
        path: the file.
        tensors: decode the streams to find the share of each tensor.
        max_bytes: refuse to decode a file whose tensors take more.
        slow: decode it even if that takes more than a minute, because there are no C++ kernels.

    Raises:
        SzilardFileError: it does not exist, or is not a complete and valid file.
    """

    def look(data: Source) -> Ledger:
        found = tables(data)
        if not tensors:
            return _ledger(found, [(None, None)] * len(found.fields))
        costs: list[Cost] = []
        held: list[int] = []
        decode(found, max_bytes, keep=Keep.NOTHING, slow=slow, costs=costs, held=held)
        return _ledger(found, costs, held)

    return open_file(path, look)


def verify(path: str | Path, *, max_bytes: int = MOST_OUTPUT, slow: bool = False) -> Ledger:
    """Check a file: its hash, all of its content, and the hash of the decoded tensors.

    :func:`szilard.file.state.load` can open a file that passes, if there is enough memory.

    Raises:
        SzilardFileError: as :func:`inspect`.
    """

    def look(data: Source) -> Ledger:
        found = tables(data)
        held: list[int] = []
        decode(found, max_bytes, keep=Keep.NOTHING, slow=slow, held=held)
        return _ledger(found, [(None, None)] * len(found.fields), held)

    return open_file(path, look)


def _ledger(
    found: Tables, costs: Sequence[tuple[float | None, float | None]], held: Sequence[int] | None = None
) -> Ledger:
    entries = [
        ledger.of_entry(name, fields, *cost)
        for name, fields, cost in zip(found.names, found.fields, costs, strict=True)
    ]
    made = sum(
        math.prod(shape) * found.fields[number].type.size for number, (_, shape) in found.products.items()
    )
    tensors = ledger.tensor_bytes(found.fields, found.products, made, held)
    return ledger.of_parts(found.parts, entries, found.output_bytes, found.meta, tensors)
