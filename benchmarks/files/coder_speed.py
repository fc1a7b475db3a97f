"""Speed of the entropy coders: Szilard's in C++ and in Python, and constriction's, on the same levels.

Megabytes are those of the weights as float32, four bytes each. Contestants are timed alternately; figures are medians.

* *adaptive*: :mod:`szilard.coding.stream`, an adaptive model without tables;
* *static tables*: :mod:`szilard.coding.static`, a frequency table for each tensor and constriction's range coder;
  the time includes counting, and the bits include the tables;
* *constriction*: its range coder with one categorical model of all levels, whose size is not counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from szilard import file
from szilard.coding import Decoder, Encoder, Model
from szilard.coding.static import StaticDecoder, StaticEncoder, Table
from szilard.cost.interleave import Timed, interleave
from szilard.kernels import native

COLUMNS = ["", "encode MB/s", "decode MB/s", "bits per weight"]
Matrices = list[np.ndarray]
Way = tuple[Callable[[], Any], Callable[[], Any], float]  # encode, decode, bytes


def levels(data: bytes) -> Matrices:
    """Levels of all weights in a file, int32 ``[rows, cols]`` each."""
    records = [record for record in file.loads(data).records if isinstance(record, file.Levels)]
    return [r.levels.reshape(len(r.levels), -1).astype(np.int32) for r in records if r.levels.ndim > 1]


def measure(matrices: Matrices, budget: float) -> list[dict[str, Any]]:
    """One row for each coder; raises an error if a decoder does not return the encoded levels."""
    ways = {"adaptive, Python": _adaptive(matrices, False), "static tables": _static(matrices)}
    ways["constriction, one model"] = _constriction(matrices)
    if native.available():
        ways = {"adaptive, C++": _adaptive(matrices, True), **ways}
    tasks = {}
    for name, (encode, decode, _) in ways.items():
        for wanted, found in zip(matrices, decode(), strict=True):
            assert np.array_equal(wanted, found.reshape(wanted.shape)), (
                f"{name} does not decode to the encoded levels"
            )
        tasks[f"{name}: encode"], tasks[f"{name}: decode"] = Timed(encode), Timed(decode)
    seconds = interleave(tasks, budget=budget)
    count = sum(matrix.size for matrix in matrices)
    return [
        {
            "name": name,
            "encode": 4e-6 * count / seconds[f"{name}: encode"].median,
            "decode": 4e-6 * count / seconds[f"{name}: decode"].median,
            "bits": 8 * n_bytes / count,
        }
        for name, (_, _, n_bytes) in ways.items()
    ]


def body(rows: list[dict[str, Any]]) -> list[list[str]]:
    """Rows of the table, under COLUMNS."""
    return [
        [row["name"], f"{row['encode']:.3g}", f"{row['decode']:.3g}", f"{row['bits']:.3f}"] for row in rows
    ]


def _adaptive(matrices: Matrices, compiled: bool) -> Way:
    def encode() -> bytes:
        encoder = Encoder(compiled)
        for matrix in matrices:
            encoder.levels(matrix, Model.HISTORY)
        return encoder.finish()

    stream = encode()

    def decode() -> Matrices:
        decoder = Decoder(stream, compiled)
        return [decoder.levels(*matrix.shape, Model.HISTORY) for matrix in matrices]

    return encode, decode, len(stream)


def _static(matrices: Matrices) -> Way:
    tables: list[Table] = []

    def encode() -> bytes:
        encoder = StaticEncoder()
        tables.clear()
        for matrix in matrices:
            table = Table.of(matrix)
            assert table is not None
            tables.append(table)
            encoder.levels(matrix, table)
        return encoder.finish()

    stream = encode()
    sides = Encoder()  # as the file sends them
    for table in tables:
        _, gaps, rises = table.sides()
        sides.levels(gaps.astype(np.int32))
        sides.levels(rises.astype(np.int32))
    tables_bytes = len(sides.finish())

    def decode() -> Matrices:
        decoder = StaticDecoder(stream)
        return [decoder.levels(m.size, t) for m, t in zip(matrices, tables, strict=True)]

    return encode, decode, len(stream) + tables_bytes


def _constriction(matrices: Matrices) -> Way:
    import constriction

    flat = np.concatenate([matrix.ravel() for matrix in matrices])
    lowest = int(flat.min())
    symbols = (flat - lowest).astype(np.int32)
    counts = np.bincount(symbols).astype(np.float64)
    model = constriction.stream.model.Categorical(counts / counts.sum(), perfect=False)
    ends = np.cumsum([matrix.size for matrix in matrices])[:-1]

    def encode() -> np.ndarray:
        coder = constriction.stream.queue.RangeEncoder()
        coder.encode(symbols, model)
        return np.asarray(coder.get_compressed())

    words = encode()

    def decode() -> Matrices:
        found = constriction.stream.queue.RangeDecoder(words).decode(model, len(symbols)) + lowest
        return np.split(found, ends)

    return encode, decode, 4 * len(words)
