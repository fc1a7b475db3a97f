"""Whatever the bytes are: an error of one sentence in little time and memory, or the very tensors that were written."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable

import file_tools
import numpy as np
import pytest
import szd_reference
import torch
from cli_tools import environment
from file_tools import reseal
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from szilard import file
from szilard.coding import Encoder
from szilard.file import (
    Constant,
    Document,
    Levels,
    Mask,
    Product,
    Random,
    Raw,
    SzilardFileError,
    deflate,
    dtypes,
    layout,
    reader,
)
from szilard.file.digest import Content
from szilard.file.fields import MOST_RECORDS, PLAIN, Coding, Fields, Kind
from szilard.file.fields import pack as pack_fields
from szilard.file.fields import unpack as unpack_fields
from szilard.file.layout import Parts
from szilard.file.names import DICTIONARY
from szilard.file.names import pack as pack_names

WHOLE = file_tools.everything()
DATA = file.dumps(WHOLE)
PARTS = layout.split(DATA)
TABLE = unpack_fields(PARTS.fields, PARTS.count)
MIB = 1 << 20
FLOAT32 = dtypes.named("float32")


def opened(data: bytes, traced: bool = True) -> Document | str:
    """What bytes hold, or the sentence with which they are refused; in little memory, if that is traced.

    How long it takes is measured by benchmarks/faults.py, where a slow machine fails nobody's tests.
    """
    result = attempt(data)
    if not traced:
        return result
    tracemalloc.start()  # which makes everything slower
    try:
        attempt(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 * MIB, f"{peak / MIB} MiB"
    return result


def attempt(data: bytes) -> Document | str:
    try:
        return file.loads(data)
    except SzilardFileError as error:
        return str(error)


def refused(data: bytes, traced: bool = True) -> str:
    """The sentence with which bytes are refused."""
    sentence = opened(data, traced)
    assert isinstance(sentence, str), "it opened"
    assert sentence.startswith("the .szd file cannot be opened: ")
    assert "; " in sentence
    assert "\n" not in sentence
    return sentence


def harmless(data: bytes) -> None:
    """Refused, or it holds exactly the tensors that were written."""
    found = opened(data)
    if isinstance(found, Document):
        assert file_tools.same(dataclasses.replace(WHOLE, meta=found.meta), found)


# -- mutations ------------------------------------------------------------------------------------------

places = st.integers(0, len(DATA) - 1)
junk = st.binary(min_size=1, max_size=40)


def spoil(draw: Callable, data: bytes) -> bytes:
    """Some flips, cuts, insertions and transplants."""
    spoilt = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(spoilt) - 1, 0)))
        kind = draw(st.sampled_from(["flip", "set", "cut", "insert", "truncate", "extend", "splice"]))
        if kind == "flip" and spoilt:
            spoilt[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "set" and spoilt:
            spoilt[at] = draw(st.sampled_from([0, 1, 127, 128, 255]))
        elif kind == "cut":
            del spoilt[at : at + draw(st.integers(1, 40))]
        elif kind == "insert":
            spoilt[at:at] = draw(junk)
        elif kind == "truncate":
            del spoilt[at:]
        elif kind == "extend":
            spoilt += draw(junk)
        else:
            start = draw(st.integers(0, max(len(data) - 1, 0)))
            piece = data[start : start + draw(st.integers(1, 60))]
            spoilt[at : at + len(piece)] = piece
    return bytes(spoilt)


@st.composite
def spoilt_files(draw) -> bytes:
    """The file, damaged anywhere."""
    return spoil(draw, DATA)


@st.composite
def resealed_files(draw) -> bytes:
    """The file, damaged, with the hash of a file in its place, so that the parser has to find it."""
    return reseal(spoil(draw, DATA[:-8]) + bytes(8))


@st.composite
def repacked_files(draw) -> bytes:
    """The file with one of its parts damaged and all lengths made right; tables are damaged inside their deflation."""
    part = draw(st.sampled_from(["names", "fields", "meta", "adaptive", "static", "raw", "content", "count"]))
    if part == "count":
        return layout.join(dataclasses.replace(PARTS, count=draw(st.integers(0, MOST_RECORDS))))
    before = getattr(PARTS, part)
    if part in ("adaptive", "static", "raw", "content"):
        after = spoil(draw, before)
        after = (after + bytes(16))[:16] if part == "content" else after
    else:
        dictionary = DICTIONARY if part == "names" else b""
        inside = deflate.expand(before, 1 << 20, part, dictionary)
        after = deflate.compress(spoil(draw, inside), dictionary)
    return layout.join(dataclasses.replace(PARTS, **{part: after}))


sizes = st.sampled_from([0, 1, 2, 3, 5, 8, 9, 30, 40, 40, 1000, 1 << 16, 1 << 20, 1 << 24, 1 << 31, 1 << 33])
kinds = st.sampled_from([*Kind, *[Kind.LEVELS] * 6, *[Kind.MASK] * 2])


@st.composite
def bombs(draw) -> bytes:
    """The file with the fields of some records made into something else, larger mostly."""
    table = list(TABLE)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(table) - 1))
        kind = draw(kinds)
        types = dtypes.TYPES[:4] if kind in (Kind.LEVELS, Kind.RANDOM) else dtypes.TYPES
        bare = kind in (Kind.ALIAS, Kind.MASK, Kind.FULL_MASK)
        dtype = None if bare else draw(st.sampled_from(types))
        dimensions = 0 if kind == Kind.ALIAS else 2 if bare else draw(st.sampled_from([0, 1, 1, 2, 2, 3, 8]))
        coding = Coding(draw(st.integers(0, 15))) if kind == Kind.LEVELS else PLAIN
        table[at] = Fields(
            kind,
            dtype,
            tuple(draw(st.lists(sizes, min_size=dimensions, max_size=dimensions))),
            stored=draw(sizes) if kind == Kind.PLANES else 0,
            data=bytes(dtype.size) if dtype is not None and kind == Kind.CONSTANT else b"",
            target=draw(st.integers(0, 40)) if kind == Kind.ALIAS else 0,
            step=draw(st.integers(-2016, 2047)) if kind in (Kind.LEVELS, Kind.RANDOM) else 0,
            offset=draw(st.integers(-(2**23), 2**23)) if kind == Kind.LEVELS else 0,
            alphabet=draw(st.integers(0, 5000)) if Coding.STATIC in coding else 0,
            coding=coding,
            row_offset=draw(st.integers(-128, 128)) if Coding.ROW_SCALE in coding else 0,
            col_offset=draw(st.integers(-128, 128)) if Coding.COL_SCALE in coding else 0,
            size=draw(st.sampled_from([0, 1, 7, 256, 1000])) if kind == Kind.RANDOM else 0,
            bits=draw(st.sampled_from([0, 8, 20, 21])) if kind == Kind.RANDOM else 0,
        )
    return layout.join(dataclasses.replace(PARTS, fields=pack_fields(table)))


def some(count: int) -> settings:
    return settings(deadline=None, max_examples=count, suppress_health_check=list(HealthCheck), database=None)


def check(count: int) -> None:
    """So many mutations of each sort."""

    @some(count)
    @given(spoilt_files())
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


def test_every_byte_counts():
    for at in range(len(DATA)):
        with pytest.raises(SzilardFileError):
            file.loads(DATA[:at] + bytes([DATA[at] ^ 0x55]) + DATA[at + 1 :])


# -- what is promised and not there ---------------------------------------------------------------------


def forged(*table: Fields, names: bytes | None = None, **parts: bytes) -> bytes:
    """A file of such fields, right in all but what it promises."""
    blocks: dict = {
        "content": bytes(16),
        "names": pack_names([f"{i:x}" for i in range(len(table))]) if names is None else names,
        "fields": pack_fields(table),
        **dict.fromkeys(("meta", "adaptive", "static", "raw"), b""),
    }
    return layout.join(Parts(count=len(table), **blocks | parts))


def levels(*shape: int, **fields) -> Fields:
    return Fields(Kind.LEVELS, FLOAT32, shape, **fields)


NOISE = np.random.default_rng(0).bytes(2000)
SCALAR = Fields(Kind.CONSTANT, FLOAT32, (), data=bytes(4))
HUGE = {
    "constant": (forged(Fields(Kind.CONSTANT, FLOAT32, (1 << 30,), data=bytes(4))), "hash is another"),
    "constant beyond the limit": (
        forged(Fields(Kind.CONSTANT, FLOAT32, (1 << 33,), data=bytes(4))),
        "take 34359738368 bytes and 8589934592 are allowed",
    ),
    "tensor beyond the format": (
        forged(Fields(Kind.CONSTANT, FLOAT32, (1 << 20, 1 << 20), data=bytes(4))),
        "larger than the format allows",
    ),
    "overflow": (
        forged(Fields(Kind.CONSTANT, FLOAT32, (1 << 33,) * 8, data=bytes(4))),
        "larger than the format allows",
    ),
    "empty but wide": (
        forged(Fields(Kind.RAW, FLOAT32, (1 << 33, 1 << 33, 0))),
        "larger than the format allows",
    ),
    "full support": (forged(Fields(Kind.FULL_MASK, None, (1 << 15, 1 << 15))), "hash is another"),
    "support of nothing": (
        forged(Fields(Kind.MASK, None, (1 << 33, 0)), adaptive=NOISE),
        "empty support is not given as a full one",
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
        "badly described",
    ),
    "planes": (
        forged(Fields(Kind.PLANES, FLOAT32, (1 << 28,), stored=1000), raw=bytes(1000)),
        "larger shape than its part of the file can hold",
    ),
    "names": (
        forged(SCALAR, names=deflate.compress(bytes(50 * MIB), DICTIONARY)),
        "the table of names holds more",
    ),
    "metadata": (forged(meta=deflate.compress(bytes(100 * MIB))), "the metadata holds more"),
    "metadata too deep": (
        forged(meta=deflate.compress(b'{"a":' + b"[" * 500_000 + b"]" * 500_000 + b"}")),
        "the metadata are no JSON",
    ),
    "metadata of many lists": (
        forged(meta=deflate.compress(b'{"a":[' + b"[]," * 300_000 + b"[]]}")),
        "hash is another",
    ),
    "many records": (
        forged(*[Fields(Kind.CONSTANT, FLOAT32, (1,) * 8, data=bytes(4))] * MOST_RECORDS),
        "hash is another",
    ),
}


@pytest.mark.parametrize(("data", "sentence"), HUGE.values(), ids=HUGE)
def test_a_promise_is_not_believed(data, sentence):
    assert sentence in refused(data, traced=False)  # memory is measured for all of them below


def test_names_that_share_their_beginnings_do_not_multiply():
    """Some thousand bytes that would make 8 MiB of names."""
    shared = b"\0" + b"\xe8\x07" * (MOST_RECORDS - 1)  # 1000 bytes of the name before
    rest = b"x" * 1000 + b"\0" + b"".join(b"%x\0" % i for i in range(MOST_RECORDS - 1))
    block = deflate.compress(shared + rest, DICTIONARY)
    assert len(block) < 20_000
    assert "table of names is too long" in refused(forged(*[SCALAR] * MOST_RECORDS, names=block))


def test_bombs_in_a_process_of_its_own():
    """What the operating system sees: memory that was really touched, C++ included."""
    code = (
        "import resource, test_file_hostile as t; from szilard import file\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for data, _ in t.HUGE.values():\n"
        "    try: file.loads(data)\n"
        "    except file.SzilardFileError: continue\n"
        "    raise SystemExit('opened')\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 64 * 1024  # KiB


def test_the_limit_is_the_callers():
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


# -- what a later version may write ---------------------------------------------------------------------


def test_versions_and_flags():
    assert "another version of the format; update szilard" in refused(reseal(b"SZD2" + DATA[4:]))
    assert "is no .szd file" in refused(b"PK\x03\x04" + DATA[4:])
    for bit in range(5, 8):
        assert "this version of szilard does not know" in refused(
            reseal(DATA[:4] + bytes([1 << bit]) + DATA[5:])
        )
    for bit in range(5):  # 16 changes nothing where there are no products
        assert file_tools.same(WHOLE, file.loads(reseal(DATA[:4] + bytes([1 << bit]) + DATA[5:])))


def test_types_of_later_versions():
    inside = deflate.expand(PARTS.fields, 1 << 20, "")
    data = layout.join(dataclasses.replace(PARTS, fields=deflate.compress(bytes([31]) + inside[1:])))
    assert "a type of tensor that this version of szilard does not know" in refused(data)


def test_numbers_must_be_in_their_shortest_form():
    """So that one content has one table."""
    short, long = bytes([PARTS.count]), bytes([PARTS.count | 128, 0])
    assert DATA[5:6] == short
    assert "badly written" in refused(reseal(DATA[:5] + long + DATA[6:]))


def test_a_type_keeps_its_promise():
    flag = Fields(Kind.RAW, dtypes.named("bool"), (4,))
    assert "a bool tensor holds something else" in refused(forged(flag, raw=b"\0\1\2\1"))
    constant = Fields(Kind.CONSTANT, dtypes.named("bool"), (4,), data=b"\7")
    assert "a bool tensor holds something else" in refused(forged(constant))
    other = Fields(Kind.LEVELS, dtypes.named("int32"), (4,))
    assert "levels are given to a type that cannot have them" in refused(forged(other, adaptive=NOISE))


# -- each kind of fault that was found -------------------------------------------------------------------


def attempts(data: bytes, path) -> list[str]:
    """The sentences of all doors; empty where one opens the bytes."""
    path.write_bytes(data)
    doors = (
        lambda: file.loads(data),
        lambda: file.read(path),
        lambda: file.load(path),
        lambda: file.verify(path),
        lambda: file.inspect(path, tensors=True),
    )
    sentences = []
    for door in doors:
        try:
            door()
            sentences.append("")
        except SzilardFileError as error:
            sentences.append(str(error))
    assert not any("\n" in sentence for sentence in sentences)
    return sentences


def content_of(*records: tuple) -> bytes:
    """The content's hash of some records that the writer does not make."""
    hashed = Content()
    for what, *arguments in records:
        getattr(hashed, what)(*arguments)
    return hashed.digest()


def product(shape: list, codes: tuple, basis: tuple, *more: Fields, **parts) -> bytes:
    """A file of a product's factors, which are empty or zeros; for its tables only."""
    names = pack_names(["X.coefficients", "X.basis", *(f"{i}" for i in range(len(more)))])
    meta = deflate.compress(json.dumps({"szilard.products": {"X": shape}}).encode())
    return forged(levels(*codes), levels(*basis), *more, names=names, meta=meta, **parts)


LYING = {
    "scalar basis": (product([1], (1, 1), (), adaptive=b"\xff"), "do not fit"),
    "flat basis": (product([4], (2, 2), (4,), adaptive=b"\xff"), "do not fit"),
    "scalar coefficients": (product([1], (), (1, 1, 1), adaptive=b"\xff"), "do not fit"),
    "pieces of nothing": (product([0], (0, 0), (1, 0, 0)), "do not fit"),
    "no groups": (product([0], (0, 4), (0, 4, 4)), "do not fit"),
    "scalar": (product([], (1, 1), (1, 1, 1), adaptive=b"\xff"), "do not fit"),
    "wide and empty": (product([0, 1 << 62], (0, 4), (1, 4, 4), adaptive=b"\xff"), "larger than the format"),
    "wider than 64 bits": (
        product([0, 1 << 80], (0, 4), (1, 4, 4), adaptive=b"\xff"),
        "larger than the format",
    ),
    "shape of floats": (product([1.0], (1, 1), (1, 1, 1), adaptive=b"\xff"), "badly described"),
    "an alias of a factor": (
        product([1], (1, 1), (1, 1, 1), Fields(Kind.ALIAS, None, target=0), adaptive=b"\xff"),
        "not before it",
    ),
}


@pytest.mark.parametrize(("data", "sentence"), LYING.values(), ids=LYING)
def test_products_are_checked_by_their_tables(data, sentence, tmp_path):
    """What ``verify`` calls whole is what ``load`` opens."""
    assert all(sentence in said for said in attempts(data, tmp_path / "a.szd"))


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1e999}', '{"a":-1e999}', '{"a":NaN}', '{"a":Infinity}', '{"a":1,"a":2}', '{"a":"\\ud800"}',
        '{"\\udc00":1}', '{"a":["\\ud800"]}', f'{{"a":{"9" * 310}}}', f'{{"a":{"9" * 5000}}}', "[1]", "1", '"a"',
        '{"a":' + "[" * 101 + "]" * 101 + "}", '{"a":' * 101 + "1" + "}" * 101, "{", "\ufeff{}", '{"a":\t"\x01"}',
    ],
)  # fmt: skip
def test_odd_json_is_refused(text):
    sentence = refused(forged(meta=deflate.compress(text.encode())))
    assert "the metadata are no JSON" in sentence


def test_json_within_the_limits_opens():
    meta = {"deep": 1, "large": 10**308, "float": 1.7e308, "text": "Σ\U0001f600", "negative": -(2**70)}
    inner: list = []
    for _ in range(98):
        inner = [inner]
    meta["deep"] = inner
    assert file.loads(file.dumps(Document([], meta))).meta == meta
    for odd in ({"a": [inner]}, {"a": 10**309}, {"a": "\ud800"}, {"a": float("inf")}):
        with pytest.raises(SzilardFileError, match="keep to strings"):
            file.dumps(Document([], {"a": [odd]}))


def test_a_full_support_has_one_hash(tmp_path):
    """Whether it is coded or said to be full; a reader of the page takes both for the same."""
    encoder = Encoder()
    encoder.mask(np.ones((3, 5), bool))
    stream = encoder.finish()
    said = forged(Fields(Kind.FULL_MASK, None, (3, 5)), content=content_of(("mask", "0", (3, 5), None)))
    coded = forged(
        Fields(Kind.MASK, None, (3, 5)), adaptive=stream, content=content_of(("mask", "0", (3, 5), None))
    )
    bits = hashlib.blake2b(digest_size=16)
    bits.update(b"0\0" + bytes((255, 2)) + struct.pack("<2Q", 3, 5) + b"\1\xff\x7f")
    other = forged(Fields(Kind.MASK, None, (3, 5)), adaptive=stream, content=bits.digest())
    assert layout.split(said).content == layout.split(coded).content
    assert file_tools.same(file.loads(said), file.loads(coded))
    assert szd_reference.read(said) == szd_reference.read(coded)
    assert "hash is another" in refused(other)
    assert all(attempts(other, tmp_path / "a.szd"))
    with pytest.raises(szd_reference.Refused):
        szd_reference.read(other)


def small_product(name: str, shape: tuple) -> Product:
    return Product(name, "float32", shape, np.array([[1, 0], [-3, 2]]), np.array([[[5, 1], [0, 7]]]), 0)


def test_a_products_name_and_shape_are_content():
    contents = {
        layout.split(file.dumps(Document([small_product(name, shape)]))).content
        for name, shape in (("w", (2, 2)), ("v", (2, 2)), ("w", (4,)), ("w", (1, 4)), ("w", (1, 2, 2)))
    }
    assert len(contents) == 5
    data = file.dumps(Document([small_product("w", (2, 2))]))
    parts = layout.split(data)
    assert parts.flags == 16
    renamed = deflate.compress(b'{"szilard.products":{"w":[4]}}')
    assert "hash is another" in refused(layout.join(dataclasses.replace(parts, meta=renamed)))
    plain = Levels("w", "float32", (2, 2), small_product("w", (2, 2)).levels().levels, -112)
    assert (
        layout.split(file.dumps(Document([plain]))).content == parts.content
    )  # the same tensor, stored otherwise


def test_products_of_before_the_flag_open():
    product = small_product("w", (2, 2))
    factors = [
        Levels("w.coefficients", "float32", (2, 2), product.codes, 0),
        Levels("w.basis", "float32", (1, 2, 2), product.basis, 0),
    ]
    parts = layout.split(file.dumps(Document(factors)))
    assert parts.flags == 0
    meta = deflate.compress(b'{"szilard.products":{"w":[2,2]}}')
    old = layout.join(dataclasses.replace(parts, meta=meta))
    assert file_tools.same(file.loads(old), Document([product]))


def test_a_table_of_levels_beyond_the_limit():
    """Two of which occur, and one that no tensor may have."""
    encoder, stream = Encoder(), np.zeros(4, "<u4").tobytes()
    encoder.levels(np.array([0, 2**23 - 2], np.int32))  # 0, 1 and 2^23
    encoder.levels(np.zeros(3, np.int32))
    data = forged(levels(4, coding=Coding.STATIC, alphabet=3), adaptive=encoder.finish(), static=stream)
    assert "too large" in refused(data)


SCALES = file_tools.numbers(6, 40).astype(np.int8)


@pytest.mark.parametrize(
    "record",
    [
        Levels("w", "float16", (30, 40), file_tools.numbers(1, 30, 40), -150, None, SCALES),
        Levels("w", "bfloat16", (1200,), file_tools.numbers(1, 1200), -150),
        Levels("w", "float64", (30, 40), file_tools.numbers(1, 30, 40), -150, SCALES[:30]),
        Mask("w", (30, 40), file_tools.numbers(1, 30, 40) > 0),
        Mask("w", (0, 40), np.ones((0, 40), bool)),
        Mask("w", (40, 0), np.ones((40, 0), bool)),
    ],
    ids=str,
)  # fmt: skip
def test_values_made_in_place_are_those_made_apart(record, tmp_path):
    path = tmp_path / "a.szd"
    file.write(path, Document([record]))
    for name, array in file.arrays(file.read(path)).items():
        tensor = file.load(path)[name]
        bits = tensor.view(torch.uint16).numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()
        assert bits.tobytes() == array.tobytes()
        assert bits.shape == array.shape


def hostile() -> dict[str, bytes]:
    """Files of a few bytes whose tensors take 24 MiB or so; all are whole."""
    million = 1 << 20
    full = Document([Mask("m", (2048, 3 * 1024), np.broadcast_to(np.True_, (2048, 3 * 1024)))])
    almost = np.ones((2048, 3 * 1024), bool)
    almost[5, 7] = False
    ones = np.ones((6 * million,), np.int32)
    ones[3] = 2
    pairs = np.ones((3 * million, 2), np.int32)
    pairs[3] = 5
    seeds = np.zeros(2 * million // 256, np.uint32)
    codes = np.ones((million // 16, 64), np.int8)
    return {
        "full mask": file.dumps(full),
        "coded mask": file.dumps(Document([Mask("m", almost.shape, almost)])),
        "rows without columns": file.dumps(Document([Mask("m", (6 * million, 0), np.ones((6 * million, 0), bool))])),
        "levels": file.dumps(Document([Levels("w", "float32", ones.shape, ones, 0)])),
        "levels of halves": file.dumps(
            Document([Levels("w", "float16", pairs.shape, pairs, 0, None, np.zeros(2, np.int8))])
        ),
        "random": file.dumps(
            Document([Random(f"{i}", "float32", (2 * million,), seeds, -150, i, 8, 256) for i in range(3)])
        ),
        "constant": file.dumps(Document([Constant("c", "float32", (6 * million,), bytes(4))])),
        "planes": file.dumps(Document([Raw("r", "uint8", (24 * million,), bytes(24 * million - 1) + b"\1")])),
        "product": file.dumps(
            Document([Product("p", "float32", (million // 16, 64), codes, np.ones((1, 64, 64), np.int32), 0)])
        ),
    }  # fmt: skip


@pytest.mark.slow
def test_working_memory_is_bounded_by_what_comes_out(tmp_path):
    """Of every kind of record, through every door."""
    path = tmp_path / "a.szd"
    for kind, data in hostile().items():
        path.write_bytes(data)
        declared = file.inspect(path).output_bytes
        for door in (
            lambda: file.loads(path.read_bytes()),
            lambda: file.load(path),
            lambda: file.verify(path),
        ):
            tracemalloc.start()
            try:
                door()
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            assert peak <= 1.5 * declared + 16 * MIB, (
                kind
            )  # 64 are allowed; of these sizes they would hide much


def test_without_the_kernels_a_long_file_is_refused(monkeypatch):
    few = Document([Levels("w", "float32", (100,), np.arange(100, dtype=np.int32), 0)])
    data = file.dumps(few)
    monkeypatch.setattr(reader.native, "available", lambda: False)
    monkeypatch.setattr(reader, "_MOST_DECISIONS", 3999)
    with pytest.raises(SzilardFileError, match=r"over a minute.*slow=True"):
        file.loads(data)
    assert file_tools.same(few, file.loads(data, slow=True))
    monkeypatch.setattr(reader, "_MOST_DECISIONS", 4000)
    assert file_tools.same(few, file.loads(data))


def test_what_is_no_ordinary_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, words in (
        (tmp_path / "pipe", "is a pipe or a device"),
        (tmp_path, "is a folder"),
        (tmp_path / "none", "does not exist"),
        (tmp_path / "a\0b", "cannot be read"),
        ("/dev/null", "is a pipe or a device"),
    ):
        with pytest.raises(SzilardFileError, match=words):
            file.inspect(path)
    (tmp_path / "a\x1b[2J.szd").write_bytes(b"no")
    with pytest.raises(SzilardFileError) as refusal:
        file.load(tmp_path / "a\x1b[2J.szd")
    assert "\x1b" not in str(refusal.value)
