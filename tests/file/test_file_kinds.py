"""Record kinds with numbers above 7: two kinds defined here are written, read and refused like built-in ones."""

from __future__ import annotations

import dataclasses

import file_tools
import numpy as np
import pytest
import szd_reference
import torch
from extra_kinds import INT64, RAMP, SIGNS, Ramp, RampFields, Signs, SignsFields, document
from file_tools import reseal
from hostile_files import refused
from szd_streams import PAGE

from szilard import file
from szilard.file import Alias, Constant, Document, Raw, deflate, sections
from szilard.file.columns import pack
from szilard.file.cursor import varint, zigzag
from szilard.file.fields import Fields
from szilard.file.kinds import KINDS, WIDE, number, of_record
from szilard.file.kinds.constant import ConstantFields
from szilard.file.records import Value


@pytest.fixture(autouse=True)
def kinds(monkeypatch):
    """A new kind needs its classes and a number."""
    monkeypatch.setitem(KINDS, RAMP, RampFields)
    monkeypatch.setitem(KINDS, SIGNS, SignsFields)


DOCUMENT = document()


@pytest.fixture
def data(kinds) -> bytes:
    return file.dumps(DOCUMENT)


def refit(data: bytes, table: bytes, **changes) -> bytes:
    """The file with another table of fields."""
    return sections.join(dataclasses.replace(sections.split(data), fields=deflate.compress(table), **changes))


def test_wide_kinds_are_read_back(data):
    found = file.loads(data)
    assert file_tools.same(DOCUMENT, found)
    assert sections.split(data).flags == sections.WIDE | sections.PRODUCTS


def test_every_reading_function_supports_them(data, tmp_path):
    path = tmp_path / "a.szd"
    ledger = file.write(path, DOCUMENT)
    assert path.read_bytes() == data
    state = file.load(path)
    assert torch.equal(state["position_ids"], 3 - 2 * torch.arange(40)[None])
    assert state["again"] is state["position_ids"]
    for name, array in file.arrays(DOCUMENT).items():
        if name != "b":  # numpy has no bfloat16
            assert np.array_equal(state[name].numpy(), array)
    assert file.verify(path).content == ledger.content
    seen = file.inspect(path, tensors=True)
    assert [entry.kind for entry in seen.entries] == [
        *("levels", "ramp", "support", "signs", "raw", "alias", "levels", "levels", "levels")
    ]
    assert [entry.bits for entry in seen.entries] == pytest.approx([entry.bits for entry in ledger.entries])
    assert seen.tensor_bytes == ledger.tensor_bytes == file.verify(path).tensor_bytes
    assert sum(ledger.parts.values()) == len(data)


def test_from_state_dict_supports_them():
    state = file.to_state_dict(DOCUMENT)
    signs = DOCUMENT.records[3]
    made = file.from_state_dict({"signs": state["signs"]}, {"signs": signs})
    assert type(file.loads(file.dumps(made)).records[0]) is Signs


def test_the_content_hash_is_that_of_the_tensor(data):
    """It does not depend on the kind of record."""
    plain = [
        Raw(record.name, record.dtype, record.shape, record.value().tobytes())
        if isinstance(record, Ramp | Signs)
        else record
        for record in DOCUMENT.records
    ]
    other = sections.split(file.dumps(dataclasses.replace(DOCUMENT, records=plain)))
    assert other.flags == sections.PRODUCTS
    assert other.content == sections.split(data).content


def test_the_table_is_as_documented():
    records = [Ramp("r", "int64", (2, 3), 5, -1), Constant("c", "int64", (4,), bytes(8))]
    records.append(Signs("s", "float32", (3,), np.array([1, -2, 3]), -70))
    parts = sections.split(file.dumps(Document(records)))
    heads = varint(8) + varint(2) + varint(300) + bytes([4, 4, 0])
    shapes = bytes([2, 1, 1]) + bytes([2, 3, 4, 3])
    assert deflate.expand(parts.fields, 100, "") == b"".join(
        (heads, shapes, zigzag(-70), bytes(8), zigzag(5), zigzag(-1))
    )


def test_files_without_them_have_no_flag():
    for plain in (file_tools.everything(), Document([]), Document(DOCUMENT.records[-1:])):
        data = file.dumps(plain)
        assert not sections.split(data).flags & sections.WIDE
        assert file_tools.same(plain, file.loads(data))


def test_an_older_reader_refuses_the_flag(data, monkeypatch):
    monkeypatch.setattr(sections, "_KNOWN", sections.PRODUCTS)
    assert refused(data) == (
        "the .szd file cannot be opened: it uses a feature that this version of szilard does not know; "
        "update szilard to read it"
    )


def test_a_reader_without_the_kind_refuses_it(data, monkeypatch):
    monkeypatch.delitem(KINDS, SIGNS)
    assert refused(data) == (
        "the .szd file cannot be opened: it contains a kind of record that this version of szilard does not know; "
        "update szilard to read it"
    )
    with pytest.raises(
        szd_reference.Refused, match="a kind is unknown"
    ):  # the reference reader refuses it too
        szd_reference.read(data)


def test_the_flag_without_a_wide_kind_is_refused():
    table = [ConstantFields(INT64, (4,), data=bytes(8))]
    data = file.dumps(Document([Constant("c", "int64", (4,), bytes(8))]))
    assert sections.split(data).fields == pack(table)
    explicit = refit(data, varint(2) + bytes([4, 1, 4]) + bytes(8), flags=sections.WIDE)
    empty = sections.join(dataclasses.replace(sections.split(file.dumps(Document([]))), flags=sections.WIDE))
    for one in (explicit, empty):
        assert "wide kinds of records, and has none" in refused(one)
        with pytest.raises(szd_reference.Refused, match="there is no wide kind"):
            szd_reference.read(one)


RAMP_COLUMNS = bytes([4, 1, 3]) + zigzag(1) + zigzag(1)  # type, dimensions, shape, and columns of the kind


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (varint(9) + RAMP_COLUMNS, "a kind of record"),
        (varint((1 << 14) - 1) + RAMP_COLUMNS, "a kind of record"),
        (varint(1 << 14) + RAMP_COLUMNS, "too large or not in its shortest form"),
        (varint((1 << 42) - 1) + RAMP_COLUMNS, "too large or not in its shortest form"),
        (b"\x88\x00" + RAMP_COLUMNS, "too large or not in its shortest form"),  # 8, overlong
        (b"\x88\x80\x80\x80\x80\x80\x00" + RAMP_COLUMNS, "too large or not in its shortest form"),
        (b"\xff" * 8 + RAMP_COLUMNS, "too large or not in its shortest form"),
        (b"\x88", "ends too early"),
        (b"", "ends too early"),
        (varint(8), "ends too early"),
        (varint(8) + RAMP_COLUMNS[:-1], "ends too early"),
        (varint(8) + RAMP_COLUMNS + b"\0", "bytes left over"),
        (varint(8) + bytes([31]) + RAMP_COLUMNS[1:], "a type of tensor"),
        (varint(8) + bytes([255]) + RAMP_COLUMNS[1:], "a type of tensor"),
        (varint(8) + bytes([0]) + RAMP_COLUMNS[1:], "a ramp is none"),
        (varint(8) + bytes([4, 9]) + bytes(20), "too large or not in its shortest form"),
        (varint(8) + bytes([4, 1]) + varint(1 << 33) + bytes(2), "a ramp is none"),
        (varint(8) + bytes([4, 2]) + varint(1 << 33) * 2 + bytes(2), "larger than the format"),
        (varint(8) + bytes([4, 1, 3]) + zigzag(1 << 21) + zigzag(1), "too large or not in its shortest form"),
        (varint(8) + bytes([4, 1, 3]) + zigzag(2) + zigzag(1), "hash is different"),
        (
            varint(300) + bytes([0, 1, 3]) + zigzag(3000),
            "too large or not in its shortest form|outside the range of float32",
        ),
        (varint(300) + bytes([4, 1, 3]) + zigzag(0), "cannot have levels"),
        (varint(300) + bytes([0, 1]) + varint(1 << 30) + zigzag(0), "the number of its raw bytes is not"),
    ],
)
def test_hostile_tables_are_refused(table, words):
    data = file.dumps(Document([Ramp("r", "int64", (3,), 1, 1)]))
    assert file_tools.same(file.loads(refit(data, varint(8) + RAMP_COLUMNS)), file.loads(data))
    sentence = refused(refit(data, table))
    assert any(one in sentence for one in words.split("|")), sentence


def test_an_untyped_kind_has_no_type():
    """An alias in a table of wide heads."""
    data = file.dumps(Document([Ramp("r", "int64", (3,), 1, 1), Alias("s", "r")]))
    good = varint(8) + varint(3) + bytes([4, 0]) + bytes([1, 3]) + varint(0) + zigzag(1) * 2
    assert sections.split(refit(data, good)).fields == sections.split(data).fields
    assert "a type to a record that has none" in refused(refit(data, good[:3] + bytes([4]) + good[4:]))


def test_sizes_beyond_the_stream_are_refused(data):
    """As many signs as the raw part has bits, but more magnitudes than the stream can hold."""
    parts = sections.split(file.dumps(Document([Signs("s", "float32", (3,), np.array([1, -2, 3]), -70)])))
    count = 1 << 20
    table = varint(300) + bytes([0, 1]) + varint(count) + zigzag(-70)
    huge = dataclasses.replace(parts, fields=deflate.compress(table), raw=bytes(count // 8))
    assert "more levels than its stream can hold" in refused(sections.join(huge))


def test_damage_with_a_valid_file_hash(data):
    """Each byte changed, with a corrected file hash: refused, or exactly the same tensors."""
    for at in range(4, len(data) - 8):
        for change in (1, 0x55, 0x80):
            damaged = reseal(data[:at] + bytes([data[at] ^ change]) + data[at + 1 :])
            try:
                found = file.loads(damaged)
            except file.SzilardFileError:
                continue
            assert file_tools.same(dataclasses.replace(DOCUMENT, meta=found.meta), found)


def test_damaged_tables(data):
    inside = deflate.expand(sections.split(data).fields, 1 << 20, "")
    for at in range(len(inside)):
        for change in (1, 2, 0x40, 0x80, 0xFF):
            damaged = refit(data, inside[:at] + bytes([inside[at] ^ change]) + inside[at + 1 :])
            try:
                found = file.loads(damaged)
            except file.SzilardFileError:
                continue
            assert file_tools.same(DOCUMENT, found)
        refused(refit(data, inside[:at]), traced=False)


def test_the_documented_kinds_are_those_of_the_library():
    page = PAGE.split("| kind | record |")[1].split("\n\n")[0]
    documented = {
        int(line.split("|")[1]): line.split("|")[2].split(",")[0].strip() for line in page.splitlines()[2:10]
    }
    ours = {code: type_.__module__.rpartition(".")[2] for code, type_ in KINDS.items() if code < WIDE}
    assert {code: word.replace(" ", "_") for code, word in documented.items()} == ours


def test_kinds_without_a_number_are_refused():
    with pytest.raises(ValueError, match="has no number"):
        number(Fields)
    with pytest.raises(file.SzilardFileError, match="not a record that a file can store; store it raw"):
        of_record(Value("v", "float32", (), np.zeros(())))
    for code, kind in KINDS.items():
        assert number(kind) == code
        assert kind.word
