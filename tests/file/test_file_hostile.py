"""Any bytes give an error of one line with little memory, or exactly the tensors that were written."""

from __future__ import annotations

import dataclasses
import pickle
import subprocess
import sys
from collections.abc import Callable

import file_tools
import numpy as np
import pytest
from cli_tools import environment
from file_tools import reseal
from hostile_files import (
    DATA,
    FLOAT32,
    MIB,
    NOISE,
    PARTS,
    SCALAR,
    TABLE,
    WHOLE,
    forged,
    harmless,
    levels,
    refused,
)
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from szilard import file
from szilard.file import (
    Document,
    Levels,
    Mask,
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
from szilard.file.kinds.full_mask import FullMaskFields
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


# -- declared sizes beyond the content ------------------------------------------------------------------


HUGE = {
    "constant": (forged(ConstantFields(FLOAT32, (1 << 30,), data=bytes(4))), "hash is different"),
    "constant beyond the limit": (
        forged(ConstantFields(FLOAT32, (1 << 33,), data=bytes(4))),
        "take 34359738368 bytes and 8589934592 are allowed",
    ),
    "tensor beyond the format": (
        forged(ConstantFields(FLOAT32, (1 << 20, 1 << 20), data=bytes(4))),
        "larger than the format allows",
    ),
    "overflow": (
        forged(ConstantFields(FLOAT32, (1 << 33,) * 8, data=bytes(4))),
        "larger than the format allows",
    ),
    "empty but wide": (
        forged(RawFields(FLOAT32, (1 << 33, 1 << 33, 0))),
        "larger than the format allows",
    ),
    "full support": (forged(FullMaskFields(None, (1 << 15, 1 << 15))), "hash is different"),
    "support of nothing": (
        forged(MaskFields(None, (1 << 33, 0)), adaptive=NOISE),
        "empty support is not stored as a full one",
    ),
    "levels": (forged(levels(1 << 32), adaptive=NOISE), "more levels than its stream can hold"),
    "scales": (
        forged(levels(1 << 32, 0, coding=Coding.ROW_SCALE), adaptive=NOISE),
        "empty tensor has scales",
    ),
    "levels that nearly fit": (forged(levels(11_000_000), adaptive=NOISE), "levels are damaged"),
    "rows that nearly fit": (forged(levels(11_000_000, 1), adaptive=NOISE), "levels are damaged"),
    "static levels": (
        forged(levels(1 << 32, coding=Coding.STATIC, alphabet=2), adaptive=NOISE, static=NOISE),
        "more levels than its stream can hold",
    ),
    "static levels that nearly fit": (
        forged(levels(11_000_000, coding=Coding.STATIC, alphabet=2), adaptive=b"\x55" * 10, static=NOISE),
        "levels are damaged",
    ),
    "one certain level": (
        forged(levels(1 << 20, coding=Coding.STATIC, alphabet=1), adaptive=NOISE, static=NOISE),
        "invalid fields",
    ),
    "planes": (
        forged(PlanesFields(FLOAT32, (1 << 28,), stored=1000), raw=bytes(1000)),
        "larger than its part of the file can hold",
    ),
    "names": (
        forged(SCALAR, names=deflate.compress(bytes(50 * MIB), DICTIONARY)),
        "the table of names has too many bytes",
    ),
    "metadata": (forged(meta=deflate.compress(bytes(100 * MIB))), "the metadata has too many bytes"),
    "metadata too deep": (
        forged(meta=deflate.compress(b'{"a":' + b"[" * 500_000 + b"]" * 500_000 + b"}")),
        "the metadata are not JSON",
    ),
    "metadata of many lists": (
        forged(meta=deflate.compress(b'{"a":[' + b"[]," * 300_000 + b"[]]}")),
        "hash is different",
    ),
    "many records": (
        forged(*[ConstantFields(FLOAT32, (1,) * 8, data=bytes(4))] * MOST_RECORDS),
        "hash is different",
    ),
}


@pytest.mark.parametrize(("data", "sentence"), HUGE.values(), ids=HUGE)
def test_declared_sizes_beyond_the_content_are_refused(data, sentence):
    assert sentence in refused(data, traced=False)  # memory is measured for all of them below


def test_names_with_shared_prefixes_are_limited():
    """A few thousand bytes that would expand to 8 MiB of names."""
    shared = b"\0" + b"\xe8\x07" * (MOST_RECORDS - 1)  # each shares 1000 bytes with the name before
    rest = b"x" * 1000 + b"\0" + b"".join(b"%x\0" % i for i in range(MOST_RECORDS - 1))
    block = deflate.compress(shared + rest, DICTIONARY)
    assert len(block) < 20_000
    assert "table of names is too long" in refused(forged(*[SCALAR] * MOST_RECORDS, names=block))


def test_bombs_in_a_subprocess():
    """The peak memory as the operating system reports it, including C++ allocations."""
    code = (
        "import pickle, resource, sys; from szilard import file\n"
        "huge = pickle.load(sys.stdin.buffer)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for data, _ in huge:\n"
        "    try: file.loads(data)\n"
        "    except file.SzilardFileError: continue\n"
        "    raise SystemExit('opened')\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, check=False,
        input=pickle.dumps(list(HUGE.values())),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 64 * 1024  # KiB


def test_the_caller_can_set_the_limit():
    document = Document([Levels("w", "float32", (100, 100), np.ones((100, 100), np.int32), 0)])
    data = file.dumps(document)
    assert file_tools.same(document, file.loads(data, max_bytes=40_000))
    with pytest.raises(
        SzilardFileError, match="take 40000 bytes and 39999 are allowed; allow more with max_bytes"
    ):
        file.loads(data, max_bytes=39_999)
    support = file.dumps(Document([Mask("m", (100, 100), np.eye(100, dtype=bool))]))
    with pytest.raises(SzilardFileError, match="allow more with max_bytes"):
        file.loads(support, max_bytes=1000)


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
