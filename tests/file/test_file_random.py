"""Tensors of shared random numbers: the generator, the record, and invalid files."""

from __future__ import annotations

import dataclasses
import hashlib
import tracemalloc

import file_tools
import numpy as np
import pytest
import szd_reference
from hypothesis import given, settings
from hypothesis import strategies as st

from szilard import file
from szilard.file import Document, Random, SzilardFileError, digest, dtypes, random, sections
from szilard.file.columns import pack as pack_fields
from szilard.file.kinds.random import MOST_RANDOM, RandomFields
from szilard.file.names import pack as pack_names
from szilard.file.sections import Parts

FLOAT32 = dtypes.named("float32")
#: Computed by tests/support/szd_reference.py.
GOLDEN_LEVELS = [-126, 346, -476, 195, -58, -60]
GOLDEN_HASH = "03df6ae2385f9e73aab6031315c70fd0e1cffa97b254aa279d74a922f83f3151"


def record(count: int = 50, size: int = 7, bits: int = 10, seed: int = 5, **changes) -> Random:
    indices = np.random.default_rng(seed).integers(0, 1 << bits, -(-count // size)).astype(np.uint32)
    return dataclasses.replace(Random("w", "float32", (count,), indices, -150, seed, bits, size), **changes)


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((2**32 - 1,) * 4, (2**32 - 1,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_known_answers(counter, key, words):
    """Known answers published with the generator."""
    found = random.philox(tuple(np.array([word], np.uint64) for word in counter), key)
    assert tuple(int(word[0]) for word in found) == words


def test_variates_are_nearly_normal():
    drawn = (
        random.variates(np.arange(100_000, dtype=np.uint64), np.full(100_000, 3, np.uint64), 9)
        / random.SPREAD
    )
    assert abs(drawn.mean()) < 0.015
    assert drawn.std() == pytest.approx(1, abs=0.01)
    assert (drawn**4).mean() == pytest.approx(3 - 1.2 / 16, abs=0.08)
    for limit, share in ((1, 0.6827), (2, 0.9545), (3, 0.9973)):
        assert (abs(drawn) < limit).mean() == pytest.approx(share, abs=0.006)


def test_variates_of_different_positions_candidates_and_seeds_are_uncorrelated():
    places = np.arange(20_000, dtype=np.uint64)
    several = [
        random.variates(places, np.full_like(places, k), seed)
        for k, seed in ((0, 0), (1, 0), (0, 1), (2**19, 7))
    ] + [random.variates(places + 1, np.zeros_like(places), 0)]
    correlations = np.corrcoef(several) - np.eye(len(several))
    assert abs(correlations).max() < 0.04


@given(st.integers(1, 3000), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_the_order_is_a_permutation(count, seed):
    assert sorted(random.order(count, seed)) == list(range(count))


@given(st.integers(8, 20), st.integers(1, 40), st.data())
def test_indices_are_packed_without_loss(bits, count, data):
    numbers = np.array(
        data.draw(st.lists(st.integers(0, 2**bits - 1), min_size=count, max_size=count)), np.uint32
    )
    packed = random.pack(numbers, bits)
    assert len(packed) == (count * bits + 7) // 8
    np.testing.assert_array_equal(random.unpack(packed, count, bits), numbers)


@given(st.integers(1, 80), st.integers(1, 20), st.integers(8, 20), st.integers(0, 2**32 - 1), st.data())
@settings(max_examples=40, deadline=None)
def test_files_are_read_also_by_the_reference_reader(count, size, bits, seed, data):
    dtype = data.draw(st.sampled_from(["float32", "float16", "bfloat16", "float64"]))
    made = record(count, size, bits, seed, dtype=dtype)
    contents = file.dumps(Document([made, record(name="v", shape=(5, 10)), record(name="u", step=-90)]))
    found = file.loads(contents)
    read = found.records[0]
    assert (read.seed, read.size, read.bits, read.step) == (seed, size, bits, -150)
    np.testing.assert_array_equal(read.indices, made.indices)
    tensors, _ = szd_reference.read(contents)
    for name, array in file.arrays(found).items():
        assert tensors[name][1:] == (array.shape, array.tobytes())
    assert tensors["w"][2] == made.value().tobytes()


def test_golden_values():
    """If this fails, users' files can no longer be read."""
    made = record(40_000, size=33, bits=12, seed=2**32 - 1)
    assert made.levels()[:6].tolist() == GOLDEN_LEVELS
    assert hashlib.sha256(made.levels().astype("<i4").tobytes()).hexdigest() == GOLDEN_HASH


def test_the_ledger_entry_of_random_records():
    ledger = file.encode(Document([record(1000, size=10, bits=12)]))[1]
    assert ledger.entries[0].kind == "random"
    assert ledger.entries[0].bits == 8 * ledger.parts["raw"] == 1200


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"dtype": "int32"}, "which random levels cannot be"),
        ({"size": 0}, "in blocks of 1 to 256"),
        ({"size": 257}, "in blocks of 1 to 256"),
        ({"bits": 7}, "8 to 20 bits"),
        ({"bits": 21}, "8 to 20 bits"),
        ({"shape": (0,)}, "must have 1 to"),
        ({"shape": (60,)}, "one unsigned index for each block"),
        ({"indices": np.full(8, 1 << 10, np.uint32)}, "too large"),
        ({"indices": np.zeros(8, np.int32)}, "one unsigned index"),
        ({"seed": 1 << 32}, "too large"),
        ({"step": 3000}, "outside the range of float32"),
        ({"dtype": "float16", "step": 200}, "outside the range of its type"),
    ],
)
def test_invalid_records_are_refused(changes, sentence):
    with pytest.raises(SzilardFileError, match=sentence):
        file.dumps(Document([dataclasses.replace(record(), **changes)]))


def forged(raw: bytes, **changes) -> bytes:
    """A file with one random record that is valid except for its content hash."""
    fields = RandomFields(**{"dtype": FLOAT32, "shape": (50,), "size": 7, "bits": 10, **changes})
    empty = dict.fromkeys(("meta", "adaptive", "static"), b"")
    names, table = pack_names(["w"]), pack_fields([fields])
    return sections.join(Parts(count=1, names=names, fields=table, raw=raw, content=bytes(16), **empty))


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (forged(bytes(10)), "hash is different"),
        (forged(bytes(9)), "the number of its raw bytes is not"),
        (forged(bytes(11)), "the number of its raw bytes is not"),
        (forged(bytes(10), size=3, bits=9), "the number of its raw bytes is not"),
        (forged(bytes(8) + b"\x01", size=7, bits=9, shape=(49,)), "the number of its raw bytes is not"),
        (forged(bytes(7) + b"\x01", size=7, bits=9, shape=(49,)), "bits left over"),
        (forged(bytes(10), size=0), "invalid fields"),
        (forged(bytes(10), bits=7), "invalid fields"),
        (forged(bytes(10), bits=21), "too large or not in its shortest form"),
        (forged(bytes(10), size=257), "too large or not in its shortest form"),
        (forged(bytes(10), seed=1 << 32), "too large or not in its shortest form"),
        (forged(b"", shape=(0,)), "invalid fields"),
        (forged(bytes(10), shape=(MOST_RANDOM + 1,), size=256), "invalid fields"),
        (forged(bytes(10), step=3000), "outside the range of float32"),
        (forged(bytes(10), dtype=dtypes.named("int8")), "cannot have levels"),
        (forged(bytes(99), shape=(20_000,), size=256, step=2047), "outside the range of its type"),
    ],
)
def test_invalid_files_are_refused(data, sentence):
    with pytest.raises(SzilardFileError, match=sentence):
        file.loads(data)


def test_the_largest_record_takes_little_memory():
    """8 KiB that expand to two million values, the most that a record may have."""
    data = forged(bytes(8192), shape=(MOST_RANDOM,), size=256, bits=8)
    tracemalloc.start()
    with pytest.raises(SzilardFileError, match="hash is different"):
        file.loads(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20


def test_damage_with_a_valid_file_hash():
    """Each byte changed, with a corrected file hash: refused, or exactly the same tensors."""
    document = Document([record(), record(name="v", size=1, bits=8)])
    data = file.dumps(document)
    for at in range(4, len(data) - digest.FILE_BYTES):
        for change in (1, 0x55, 0x80):
            damaged = data[:at] + bytes([data[at] ^ change]) + data[at + 1 :]
            try:
                found = file.loads(file_tools.reseal(damaged))
            except SzilardFileError:
                continue
            assert file_tools.same(document, found)
