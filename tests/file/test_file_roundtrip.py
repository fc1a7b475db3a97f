"""A .szd file reproduces its content bit for bit."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys

import file_tools
import numpy as np
import pytest
import szd_reference
from cli_tools import environment
from hypothesis import given, settings
from hypothesis import strategies as st

from szilard import file
from szilard.errors import SzilardError
from szilard.file import Alias, Constant, Document, Levels, Mask, Raw, SzilardFileError, sections, steps
from szilard.file.columns import unpack as unpack_fields
from szilard.file.pieces import matrix

quick = settings(deadline=None, max_examples=60)


@quick
@given(file_tools.documents())
def test_random_documents_are_read_back(document):
    data, ledger = file.encode(document)
    assert file_tools.same(document, file.loads(data))
    assert ledger.size == len(data)
    assert file.dumps(document) == data


@settings(deadline=None, max_examples=25)
@given(file_tools.documents())
def test_the_reference_reader_reads_the_same(document):
    data = file.dumps(document)
    found, meta = szd_reference.read(data)
    expected = file.arrays(file.loads(data))
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name][1:] == (array.shape, array.tobytes()), name
    assert meta == dict(document.meta)


def test_everything_at_once(tmp_path):
    document = file_tools.everything()
    ledger = file.write(tmp_path / "net.szd", document)
    assert file_tools.same(document, file.read(tmp_path / "net.szd"))
    assert ledger.size == (tmp_path / "net.szd").stat().st_size
    found, meta = szd_reference.read((tmp_path / "net.szd").read_bytes())
    expected = file.arrays(document)
    assert {name: value[2] for name, value in found.items()} == {
        name: array.tobytes() for name, array in expected.items()
    }
    assert {name: found[name][0] for name in ("fc.weight", "raw.bool", "sparse.weight.support.col")} == {
        "fc.weight": "float32", "raw.bool": "bool", "sparse.weight.support.col": "int32",
    }  # fmt: skip
    assert meta == document.meta


def test_scales_are_multiplied_in_the_documented_order():
    """Compared with exact products of the float32 factors, each rounded once."""
    levels = file_tools.numbers(0, 5, 7, spread=50)
    row, col = np.arange(-2, 3, dtype=np.int8) * 7, np.arange(-3, 4, dtype=np.int8) * 5
    record = Levels("w", "float32", (5, 7), levels, -83, row, col)
    value = file.arrays(file.loads(file.dumps(Document([record]))))["w"]
    for r in range(5):
        for c in range(7):
            scale = np.float32(np.float64(steps.value(-83)) * np.float64(steps.scales(row)[r]))
            scale = np.float32(np.float64(scale) * np.float64(steps.scales(col)[c]))
            assert value[r, c] == np.float32(np.float64(scale) * int(levels[r, c]))
    exact = levels * 2.0 ** (-83 / 16) * 2.0 ** (row[:, None] / 8) * 2.0 ** (col[None, :] / 8)
    assert np.allclose(value, exact, rtol=3e-7, atol=0)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int64])
def test_levels_of_any_integer_type(dtype):
    """All 256 values, so that differences do not fit into int8; a static table is cheaper for them."""
    levels = np.tile(np.arange(-128, 128), 40).astype(dtype)
    data = file.dumps(Document([Levels("w", "float32", levels.shape, levels, 0)]))
    assert (file.arrays(file.loads(data))["w"] == levels).all()


@given(st.integers(steps.LOWEST, steps.HIGHEST))
def test_steps_are_the_nearest_float32(code):
    exact = 2.0 ** (code / 16)
    assert steps.value(code) == np.float32(exact)
    assert steps.nearest(exact) == code
    assert steps.nearest(exact * 2 ** (0.49 / 16)) == code


def test_bfloat16_is_rounded_to_nearest_even():
    """1 + k/512 with eight significant bits: ties are rounded to even."""
    record = Levels("w", "bfloat16", (9,), np.arange(512, 521, dtype=np.int32), -9 * 16)
    (bits,) = file.arrays(file.loads(file.dumps(Document([record])))).values()
    assert (bits.astype(np.uint32) << 16).view(np.float32).tolist() == [
        1.0, 1.0, 1.0, 1.0078125, 1.0078125, 1.0078125, 1.015625, 1.015625, 1.015625,
    ]  # fmt: skip


def test_a_file_is_the_same_after_a_restart():
    """The bytes do not depend on the hash seed or other process state."""
    code = (
        "import file_tools, hashlib; from szilard import file; data = file.dumps(file_tools.everything()); "
    )
    code += "print(hashlib.sha256(data).hexdigest())"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**environment(), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def test_reading_needs_no_torch(tmp_path):
    path = tmp_path / "net.szd"
    file.write(path, file_tools.everything())
    code = (
        "import sys; sys.modules['torch'] = None; from szilard import file; "
        f"file.inspect({str(path)!r}); file.verify({str(path)!r}); print(len(file.arrays(file.read({str(path)!r}))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == str(len(file.arrays(file_tools.everything()))), done.stderr


class TestChoices:
    """The writer chooses the shorter encoding."""

    def codings(self, *records):
        parts = sections.split(file.dumps(Document(records)))
        return unpack_fields(parts.fields, parts.count)

    def test_widely_spaced_levels_use_a_static_table(self):
        levels = file_tools.numbers(0, 100, 100) * 37
        (fields,) = self.codings(Levels("w", "float32", (100, 100), levels, 0))
        assert fields.static_symbols == 10_000

    def test_levels_around_another_value_use_an_offset(self):
        levels = file_tools.numbers(0, 1000) + 150
        (fields,) = self.codings(Levels("w", "float32", (1000,), levels, 0))
        assert 140 < fields.offset < 160

    def test_raw_is_deflated_if_that_helps(self):
        smooth = np.linspace(0, 1, 500, dtype="<f4").tobytes()
        rough = np.random.default_rng(0).bytes(2000)
        first, second = self.codings(Raw("a", "float32", (500,), smooth), Raw("b", "uint8", (2000,), rough))
        assert first.stored < 1800
        assert second.raw_bytes == 2000

    def test_full_supports_and_constants_cost_nothing(self):
        ledger = file.encode(
            Document(
                [
                    Mask("m", (500, 500), np.ones((500, 500), bool)),
                    Constant("c", "float32", (10**6,), bytes(4)),
                ]
            )
        )[1]
        assert ledger.size < 70


ONES = np.ones((2, 3), np.int32)


def levels(**changes):
    fields = {
        "name": "w",
        "dtype": "float32",
        "shape": (2, 3),
        "levels": ONES,
        "step": 0,
    }
    return Levels(**fields | changes)


@pytest.mark.parametrize(
    ("records", "sentence"),
    [
        ([levels(), levels()], "two tensors have the name w"),
        ([Mask("w", (1, 1), np.zeros((1, 1), bool)), levels(name="w.col")], "two tensors have the name w.col"),
        ([levels(name="a\0b")], "contains a zero"),
        ([levels(name="a" * 2000)], "longer than 1024 bytes"),
        ([levels(name="\ud800")], "not Unicode text"),
        ([levels(dtype="int32")], "w is of type int32, which levels cannot be"),
        ([levels(dtype="qint8")], "cannot store tensors of type qint8"),
        ([levels(shape=(3, 2))], "levels of w must be integers of its shape"),
        ([levels(levels=np.ones((2, 3)))], "levels of w must be integers"),
        ([levels(levels=np.full((2, 3), 2**23))], "outside ±8388607; take a larger step"),
        ([levels(step=5000)], "step code 5000 of w"),
        ([levels(dtype="float16", step=400)], "values outside the range of its type"),
        ([levels(row_scale=np.zeros(3, np.int8))], "must be 2 int8 codes"),
        ([levels(row_scale=np.zeros(2, np.int32))], "must be 2 int8 codes"),
        ([levels(shape=(1,) * 9, levels=np.ones((1,) * 9, np.int32))], "larger than the format allows"),
        ([Raw("r", "int64", (3,), b"12345678")], "r has 8 bytes and its shape needs 24"),
        ([Constant("c", "float32", (0,), bytes(4))], "the constant c is empty"),
        ([Constant("c", "float32", (3,), bytes(8))], "has no entry of its type"),
        ([Alias("a", "b")], "a shares b, which is not an earlier tensor"),
        ([levels(), Alias("a", "w"), Alias("b", "a")], "b shares a, which is not an earlier tensor"),
        ([Mask("m", (2, 2), np.zeros((2, 2), np.int32))], "mask of m must be a bool matrix"),
        ([levels(name=f"{i}") for i in range(20_000)], "at most 8192 tensors, not 20000"),
    ],
)  # fmt: skip
def test_invalid_documents_are_refused(tmp_path, records, sentence):
    with pytest.raises(SzilardFileError, match=sentence):
        file.write(tmp_path / "net.szd", Document(records))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("meta", "sentence"),
    [({"a": np.ones(3)}, "as JSON"), ({"a": math.nan}, "as JSON"), ({"a": "x" * 2**20}, "at most 1048576")],
)
def test_invalid_metadata_are_refused(meta, sentence):
    with pytest.raises(SzilardFileError, match=sentence):
        file.dumps(Document([], meta))


def test_metadata_are_sorted_and_may_be_missing():
    one, other = ({"b": 1, "a": [None, "é"]}, {"a": [None, "é"], "b": 1})
    assert file.dumps(Document([], one)) == file.dumps(Document([], other))
    assert file.loads(file.dumps(Document([]))).meta == {}


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "net.szd"
    file.write(path, Document([levels()]))
    before = path.read_bytes()
    monkeypatch.setattr("szilard.atomic.os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "no space")))
    with pytest.raises(SzilardError, match="is unchanged"):
        file.write(path, file_tools.everything())
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["net.szd"]


def test_records_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        levels().step = 3
    assert matrix((2, 3, 4)) == (2, 12)
    assert matrix((5,)) == (1, 5)
    assert matrix(()) == (1, 1)
