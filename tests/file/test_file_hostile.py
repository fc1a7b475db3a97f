"""Any bytes give an error of one line with little memory, or exactly the tensors that were written."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import file_tools
import pytest
from file_tools import reseal
from hostile_files import (
    DATA,
    NOISE,
    PARTS,
    TABLE,
    WHOLE,
    forged,
    harmless,
    refused,
)
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from szilard import file
from szilard.file import (
    SzilardFileError,
    deflate,
    dtypes,
    sections,
)
from szilard.file.columns import pack as pack_fields
from szilard.file.fields import Fields, SteppedFields
from szilard.file.kinds import KINDS
from szilard.file.kinds.alias import AliasFields
from szilard.file.kinds.constant import ConstantFields
from szilard.file.kinds.levels import Coding, LevelsFields
from szilard.file.kinds.mask import MaskFields
from szilard.file.kinds.planes import PlanesFields
from szilard.file.kinds.random import RandomFields
from szilard.file.kinds.raw import RawFields
from szilard.file.limits import MOST_RECORDS
from szilard.file.names import DICTIONARY

# -- mutations ------------------------------------------------------------------------------------------

places = st.integers(0, len(DATA) - 1)
junk = st.binary(min_size=1, max_size=40)


def damage(draw: Callable, data: bytes) -> bytes:
    """Apply some bit flips, cuts, insertions and copies."""
    damaged_bytes = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(damaged_bytes) - 1, 0)))
        kind = draw(st.sampled_from(["flip", "set", "cut", "insert", "truncate", "extend", "splice"]))
        if kind == "flip" and damaged_bytes:
            damaged_bytes[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "set" and damaged_bytes:
            damaged_bytes[at] = draw(st.sampled_from([0, 1, 127, 128, 255]))
        elif kind == "cut":
            del damaged_bytes[at : at + draw(st.integers(1, 40))]
        elif kind == "insert":
            damaged_bytes[at:at] = draw(junk)
        elif kind == "truncate":
            del damaged_bytes[at:]
        elif kind == "extend":
            damaged_bytes += draw(junk)
        else:
            start = draw(st.integers(0, max(len(data) - 1, 0)))
            piece = data[start : start + draw(st.integers(1, 60))]
            damaged_bytes[at : at + len(piece)] = piece
    return bytes(damaged_bytes)


@st.composite
def damaged_files(draw) -> bytes:
    """The file, damaged anywhere."""
    return damage(draw, DATA)


@st.composite
def resealed_files(draw) -> bytes:
    """The file, damaged, with a valid file hash, so that the parser has to detect the damage."""
    return reseal(damage(draw, DATA[:-8]) + bytes(8))


@st.composite
def repacked_files(draw) -> bytes:
    """The file with one part damaged and all lengths corrected; deflated tables are damaged before deflation."""
    part = draw(st.sampled_from(["names", "fields", "meta", "adaptive", "static", "raw", "content", "count"]))
    if part == "count":
        return sections.join(dataclasses.replace(PARTS, count=draw(st.integers(0, MOST_RECORDS))))
    before = getattr(PARTS, part)
    if part in ("adaptive", "static", "raw", "content"):
        after = damage(draw, before)
        after = (after + bytes(16))[:16] if part == "content" else after
    else:
        dictionary = DICTIONARY if part == "names" else b""
        inside = deflate.expand(before, 1 << 20, part, dictionary)
        after = deflate.compress(damage(draw, inside), dictionary)
    return sections.join(dataclasses.replace(PARTS, **{part: after}))


sizes = st.sampled_from([0, 1, 2, 3, 5, 8, 9, 30, 40, 40, 1000, 1 << 16, 1 << 20, 1 << 24, 1 << 31, 1 << 33])
kinds = st.sampled_from([*KINDS.values(), *[LevelsFields] * 6, *[MaskFields] * 2])


@st.composite
def fields_of(draw, kind: type[Fields]) -> Fields:
    """Fields of a kind, consistent or not."""
    types = dtypes.TYPES[:4] if issubclass(kind, SteppedFields) else dtypes.TYPES
    dtype = draw(st.sampled_from(types)) if kind.typed else None
    dimensions = draw(st.sampled_from([0, 1, 1, 2, 2, 3, 8])) if kind.dimensions is None else kind.dimensions
    own: dict = {}
    if issubclass(kind, SteppedFields):
        own["step"] = draw(st.integers(-2016, 2047))
    if kind is LevelsFields:
        own["coding"] = coding = Coding(draw(st.integers(0, 15)))
        own["offset"] = draw(st.integers(-(2**23), 2**23))
        own["alphabet"] = draw(st.integers(0, 5000)) if Coding.STATIC in coding else 0
        own["row_offset"] = draw(st.integers(-128, 128)) if Coding.ROW_SCALE in coding else 0
        own["col_offset"] = draw(st.integers(-128, 128)) if Coding.COL_SCALE in coding else 0
    elif kind is RandomFields:
        own["size"] = draw(st.sampled_from([0, 1, 7, 256, 1000]))
        own["bits"] = draw(st.sampled_from([0, 8, 20, 21]))
    elif kind is PlanesFields:
        own["stored"] = draw(sizes)
    elif kind is ConstantFields:
        own["data"] = bytes(dtype.size)
    elif kind is AliasFields:
        own["target"] = draw(st.integers(0, 40))
    return kind(dtype, tuple(draw(st.lists(sizes, min_size=dimensions, max_size=dimensions))), **own)


@st.composite
def bombs(draw) -> bytes:
    """The file with the fields of some records replaced by others, mostly larger."""
    table = list(TABLE)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(table) - 1))
        table[at] = draw(fields_of(draw(kinds)))
    return sections.join(dataclasses.replace(PARTS, fields=pack_fields(table)))


def some(count: int) -> settings:
    return settings(deadline=None, max_examples=count, suppress_health_check=list(HealthCheck), database=None)


def check(count: int) -> None:
    """Check ``count`` mutations of each sort."""

    @some(count)
    @given(damaged_files())
    @example(b"")
    @example(DATA[:3])
    def damaged(data: bytes) -> None:
        if data != DATA:
            refused(data)

    @some(count)
    @given(resealed_files())
    def resealed(data: bytes) -> None:
        harmless(data)

    @some(count)
    @given(repacked_files())
    def repacked(data: bytes) -> None:
        harmless(data)

    @some(count)
    @given(bombs())
    def bombed(data: bytes) -> None:
        harmless(data)

    for test in (damaged, resealed, repacked, bombed):
        test()


def test_mutations():
    check(100)


@pytest.mark.slow
def test_ten_thousand_mutations():
    check(2500)


@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 27, 28, 29, 40, len(DATA) // 2, len(DATA) - 1])
def test_every_truncation_and_extension(length):
    refused(DATA[:length])
    refused(DATA + DATA[:length] if length else DATA + b"\0")
    refused(reseal(DATA[:length] + bytes(8)))


def test_every_changed_byte_is_refused():
    for at in range(len(DATA)):
        with pytest.raises(SzilardFileError):
            file.loads(DATA[:at] + bytes([DATA[at] ^ 0x55]) + DATA[at + 1 :])


# -- features of later versions -------------------------------------------------------------------------


def test_versions_and_flags():
    assert "another version of the format; update szilard" in refused(reseal(b"SZD2" + DATA[4:]))
    assert "is not a .szd file" in refused(b"PK\x03\x04" + DATA[4:])
    for bit in range(6, 8):
        assert "this version of szilard does not know" in refused(
            reseal(DATA[:4] + bytes([1 << bit]) + DATA[5:])
        )
    refused(
        reseal(DATA[:4] + bytes([1 << 5]) + DATA[5:])
    )  # flag 32 changes the table, see test_file_kinds.py
    for bit in range(5):  # flag 16 has no effect without products
        assert file_tools.same(WHOLE, file.loads(reseal(DATA[:4] + bytes([1 << bit]) + DATA[5:])))


def test_types_of_later_versions_are_refused():
    inside = deflate.expand(PARTS.fields, 1 << 20, "")
    data = sections.join(dataclasses.replace(PARTS, fields=deflate.compress(bytes([31]) + inside[1:])))
    assert "a type of tensor that this version of szilard does not know" in refused(data)


def test_numbers_must_be_in_their_shortest_form():
    """This makes the table of a content unique."""
    short, long = bytes([PARTS.count]), bytes([PARTS.count | 128, 0])
    assert DATA[5:6] == short
    assert "not in its shortest form" in refused(reseal(DATA[:5] + long + DATA[6:]))


def test_values_must_suit_their_type():
    flag = RawFields(dtypes.named("bool"), (4,))
    assert "a bool tensor has a value other than 0 and 1" in refused(forged(flag, raw=b"\0\1\2\1"))
    constant = ConstantFields(dtypes.named("bool"), (4,), data=b"\7")
    assert "a bool tensor has a value other than 0 and 1" in refused(forged(constant))
    other = LevelsFields(dtypes.named("int32"), (4,))
    assert "a tensor of levels has a type that cannot have levels" in refused(forged(other, adaptive=NOISE))
