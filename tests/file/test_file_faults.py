"""Regression tests of faulty .szd files: every reading function gives the same error or the right tensors."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import struct

import file_tools
import numpy as np
import pytest
import szd_reference
from hostile_files import (
    forged,
    levels,
    refused,
)

from szilard import file
from szilard.coding import Encoder
from szilard.file import (
    Document,
    Levels,
    Product,
    SzilardFileError,
    deflate,
    reader,
    sections,
)
from szilard.file.digest import Content
from szilard.file.fields import Fields
from szilard.file.kinds.alias import AliasFields
from szilard.file.kinds.full_mask import FullMaskFields
from szilard.file.kinds.levels import Coding
from szilard.file.kinds.mask import MaskFields
from szilard.file.names import pack as pack_names


def attempts(data: bytes, path) -> list[str]:
    """The error messages of all reading functions; empty where one succeeds."""
    path.write_bytes(data)
    readers = (
        lambda: file.loads(data),
        lambda: file.read(path),
        lambda: file.load(path),
        lambda: file.verify(path),
        lambda: file.inspect(path, tensors=True),
    )
    sentences = []
    for read in readers:
        try:
            read()
            sentences.append("")
        except SzilardFileError as error:
            sentences.append(str(error))
    assert not any("\n" in sentence for sentence in sentences)
    return sentences


def content_of(*records: tuple) -> bytes:
    """The content hash of records that the writer would not write."""
    hashed = Content()
    for what, *arguments in records:
        getattr(hashed, what)(*arguments)
    return hashed.digest()


def product(shape: list, codes: tuple, basis: tuple, *more: Fields, **parts) -> bytes:
    """A file with the tables of a product's factors, which are empty or zeros."""
    names = pack_names(["X.coefficients", "X.basis", *(f"{i}" for i in range(len(more)))])
    meta = deflate.compress(json.dumps({"szilard.products": {"X": shape}}).encode())
    return forged(levels(*codes), levels(*basis), *more, names=names, meta=meta, **parts)


INVALID = {
    "scalar basis": (product([1], (1, 1), (), adaptive=b"\xff"), "do not match"),
    "flat basis": (product([4], (2, 2), (4,), adaptive=b"\xff"), "do not match"),
    "scalar coefficients": (product([1], (), (1, 1, 1), adaptive=b"\xff"), "do not match"),
    "pieces of nothing": (product([0], (0, 0), (1, 0, 0)), "do not match"),
    "no groups": (product([0], (0, 4), (0, 4, 4)), "do not match"),
    "scalar": (product([], (1, 1), (1, 1, 1), adaptive=b"\xff"), "do not match"),
    "wide and empty": (product([0, 1 << 62], (0, 4), (1, 4, 4), adaptive=b"\xff"), "larger than the format"),
    "wider than 64 bits": (
        product([0, 1 << 80], (0, 4), (1, 4, 4), adaptive=b"\xff"),
        "larger than the format",
    ),
    "shape of floats": (product([1.0], (1, 1), (1, 1, 1), adaptive=b"\xff"), "products are not valid"),
    "an alias of a factor": (
        product([1], (1, 1), (1, 1, 1), AliasFields(target=0), adaptive=b"\xff"),
        "not before it",
    ),
}


@pytest.mark.parametrize(("data", "sentence"), INVALID.values(), ids=INVALID)
def test_products_are_checked_in_the_tables(data, sentence, tmp_path):
    """All reading functions refuse them with the same message."""
    assert all(sentence in message for message in attempts(data, tmp_path / "a.szd"))


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1e999}', '{"a":-1e999}', '{"a":NaN}', '{"a":Infinity}', '{"a":1,"a":2}', '{"a":"\\ud800"}',
        '{"\\udc00":1}', '{"a":["\\ud800"]}', f'{{"a":{"9" * 310}}}', f'{{"a":{"9" * 5000}}}', "[1]", "1", '"a"',
        '{"a":' + "[" * 101 + "]" * 101 + "}", '{"a":' * 101 + "1" + "}" * 101, "{", "\ufeff{}", '{"a":\t"\x01"}',
    ],
)  # fmt: skip
def test_invalid_json_is_refused(text):
    sentence = refused(forged(meta=deflate.compress(text.encode())))
    assert "the metadata are not" in sentence


def test_json_within_the_limits_opens():
    meta = {"deep": 1, "large": 10**308, "float": 1.7e308, "text": "Σ\U0001f600", "negative": -(2**70)}
    inner: list = []
    for _ in range(98):
        inner = [inner]
    meta["deep"] = inner
    assert file.loads(file.dumps(Document([], meta))).meta == meta
    for odd in ({"a": [inner]}, {"a": 10**309}, {"a": "\ud800"}, {"a": float("inf")}):
        with pytest.raises(SzilardFileError, match="use only strings"):
            file.dumps(Document([], {"a": [odd]}))


def test_a_full_support_has_one_hash(tmp_path):
    """The hash is the same whether the support is coded or marked as full, also for the reference reader."""
    encoder = Encoder()
    encoder.mask(np.ones((3, 5), bool))
    stream = encoder.finish()
    marked_full = forged(FullMaskFields(None, (3, 5)), content=content_of(("mask", "0", (3, 5), None)))
    coded = forged(MaskFields(None, (3, 5)), adaptive=stream, content=content_of(("mask", "0", (3, 5), None)))
    bits = hashlib.blake2b(digest_size=16)
    bits.update(b"0\0" + bytes((255, 2)) + struct.pack("<2Q", 3, 5) + b"\1\xff\x7f")
    other = forged(MaskFields(None, (3, 5)), adaptive=stream, content=bits.digest())
    assert sections.split(marked_full).content == sections.split(coded).content
    assert file_tools.same(file.loads(marked_full), file.loads(coded))
    assert szd_reference.read(marked_full) == szd_reference.read(coded)
    assert "hash is different" in refused(other)
    assert all(attempts(other, tmp_path / "a.szd"))
    with pytest.raises(szd_reference.Refused):
        szd_reference.read(other)


def small_product(name: str, shape: tuple) -> Product:
    return Product(name, "float32", shape, np.array([[1, 0], [-3, 2]]), np.array([[[5, 1], [0, 7]]]), 0)


def test_the_content_hash_covers_a_products_name_and_shape():
    contents = {
        sections.split(file.dumps(Document([small_product(name, shape)]))).content
        for name, shape in (("w", (2, 2)), ("v", (2, 2)), ("w", (4,)), ("w", (1, 4)), ("w", (1, 2, 2)))
    }
    assert len(contents) == 5
    data = file.dumps(Document([small_product("w", (2, 2))]))
    parts = sections.split(data)
    assert parts.flags == 16
    renamed = deflate.compress(b'{"szilard.products":{"w":[4]}}')
    assert "hash is different" in refused(sections.join(dataclasses.replace(parts, meta=renamed)))
    plain = Levels("w", "float32", (2, 2), small_product("w", (2, 2)).levels().levels, -112)
    assert (
        sections.split(file.dumps(Document([plain]))).content == parts.content
    )  # the same tensor in another encoding


def test_products_written_before_the_flag_open():
    product = small_product("w", (2, 2))
    factors = [
        Levels("w.coefficients", "float32", (2, 2), product.codes, 0),
        Levels("w.basis", "float32", (1, 2, 2), product.basis, 0),
    ]
    parts = sections.split(file.dumps(Document(factors)))
    assert parts.flags == 0
    meta = deflate.compress(b'{"szilard.products":{"w":[2,2]}}')
    old = sections.join(dataclasses.replace(parts, meta=meta))
    assert file_tools.same(file.loads(old), Document([product]))


def test_a_table_with_a_level_beyond_the_limit_is_refused():
    """Two levels of the table occur; the third is larger than any tensor may have."""
    encoder, stream = Encoder(), np.zeros(4, "<u4").tobytes()
    encoder.levels(np.array([0, 2**23 - 2], np.int32))  # 0, 1 and 2^23
    encoder.levels(np.zeros(3, np.int32))
    data = forged(levels(4, coding=Coding.STATIC, alphabet=3), adaptive=encoder.finish(), static=stream)
    assert "too large" in refused(data)


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


def test_paths_that_are_not_regular_files_are_refused(tmp_path):
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
