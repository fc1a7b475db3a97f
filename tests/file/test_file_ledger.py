"""The ledger accounts for every byte of a file."""

from __future__ import annotations

import dataclasses

import file_tools
import numpy as np
import pytest

from szilard import file
from szilard.file import Document, Levels, Mask


class TestLedger:
    def test_parts_and_tensors(self, tmp_path):
        path = tmp_path / "net.szd"
        written = file.write(path, file_tools.everything())
        seen, decoded = file.inspect(path), file.inspect(path, tensors=True)
        assert written.parts == seen.parts == decoded.parts
        assert sum(seen.parts.values()) == path.stat().st_size
        assert {entry.name for entry in seen.entries if entry.bits is None} == {
            "conv.weight", "conv.bias", "fc.weight", "fc2.weight", "fc3.weight", "fc4.weight",
            "sparse.weight.support", "sparse.weight.mean",
        }  # fmt: skip
        for read_back, original in zip(decoded.entries, written.entries, strict=True):
            assert read_back.bits == pytest.approx(original.bits)  # summed in another order
            assert read_back.side_bits == pytest.approx(original.side_bits)
            assert dataclasses.replace(read_back, bits=0, side_bits=0) == dataclasses.replace(
                original, bits=0, side_bits=0
            )
        assert written.content == seen.content == file.verify(path).content
        raw = sum(entry.bits for entry in seen.entries if entry.kind == "raw")
        assert raw == 8 * seen.parts["raw"]

    def test_the_streams_are_as_long_as_the_sum_of_their_tensors(self):
        """Up to the 64 bits that a coder needs to end its stream."""
        shape = (64, 500)
        dense = Document(
            [Levels(f"{i}", "float32", shape, file_tools.numbers(i, *shape), 0) for i in range(4)]
        )
        sizes = (1 << np.minimum(abs(file_tools.numbers(9, *shape)), 9)).astype(np.int32)
        powers = Document(
            [
                Levels("p", "float32", shape, sizes, 0),
                Levels(
                    "s", "float32", (100, 4), file_tools.numbers(1, 100, 4), 0, np.arange(100, dtype=np.int8)
                ),
                Mask("m", (30, 50), file_tools.numbers(2, 30, 50) > 0),
            ]
        )
        for document in (dense, powers):
            data, ledger = file.encode(document)
            ideal = sum(entry.bits + entry.side_bits for entry in ledger.entries)
            assert abs(8 * (ledger.parts["adaptive"] + ledger.parts["static"]) - ideal) < 0.001 * ideal + 64
            assert file_tools.same(document, file.loads(data))
        assert ledger.parts["static"] > 0  # powers of two are cheaper with a static table
        assert ledger.entries[1].side_bits > 0

    def test_a_small_network_has_a_small_header(self):
        """LeNet-300-100: names, shapes, steps and everything else but the values take under 100 bytes."""
        shapes = {"fc1": (300, 784), "fc2": (100, 300), "fc3": (10, 100)}
        records = []
        for number, (name, shape) in enumerate(shapes.items()):
            records.append(
                Levels(f"{name}.weight", "float32", shape, file_tools.numbers(number, *shape), -70 - number)
            )
            records.append(
                Levels(
                    f"{name}.bias", "float32", shape[:1], file_tools.numbers(number, shape[0]), -93 + number
                )
            )
        ledger = file.encode(Document(records))[1]
        header = ledger.size - ledger.parts["adaptive"] - ledger.parts["static"]
        assert header < 100
        assert ledger.values == 266_610
