"""Archives and files that are damaged, and paths that are not regular files."""

from __future__ import annotations

import gzip
import io
import os
import random
import struct
import zipfile
import zlib

import numpy as np
import pytest
from array_files import MIB, archive, npy, sentence

from szilard import data
from szilard.data.idx import read_idx
from szilard.data.npz import read_npz
from szilard.errors import SzilardError

# -- archives ---------------------------------------------------------------------------------------


def changed(path, old, new, count=-1):
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, count))
    return path


def test_members_with_a_wrong_size_are_refused(tmp_path):
    content = npy(shape="(100,)", content=bytes(100))
    path = archive(tmp_path / "a.npz", x=content)
    true_size = struct.pack("<I", len(content))
    for size in (0, 50, 1 << 20, (1 << 32) - 2):
        wrong = tmp_path / "b.npz"
        wrong.write_bytes(path.read_bytes().replace(true_size, struct.pack("<I", size)))
        sentence(read_npz, wrong)


def test_overlapping_members_are_refused(tmp_path):
    """One deflate stream under forty names."""
    path = archive(tmp_path / "a.npz", x=npy(shape=f"({MIB},)", content=random.Random(0).randbytes(MIB)))
    content = path.read_bytes()
    start = content.index(b"PK\x01\x02")
    entry = content[start : content.index(b"PK\x05\x06")]
    entries = b"".join(entry.replace(b"x.npy", bytes([65 + i]) + b".npy") for i in range(40))
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 40, 40, len(entries), start, 0)
    path.write_bytes(content[:start] + entries + end)
    assert "damaged or not an npz archive" in sentence(read_npz, path)


def test_duplicate_members_are_refused(tmp_path):
    path = archive(tmp_path / "a.npz", x=npy(), z=npy())
    assert "damaged or not an npz archive" in sentence(read_npz, changed(path, b"z.npy", b"x.npy"))


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression_methods_are_refused(tmp_path, kind):
    assert "compressed in a way" in sentence(read_npz, archive(tmp_path / "a.npz", kind, x=npy()))


def test_encrypted_archives_are_refused(tmp_path):
    path = archive(tmp_path / "a.npz", zipfile.ZIP_STORED, x=npy())
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(content))
    assert "encrypted" in sentence(read_npz, path)


def test_a_wrong_checksum_is_refused(tmp_path):
    path = archive(tmp_path / "a.npz", zipfile.ZIP_STORED, x=npy(content=b"abc"))
    sentence(read_npz, changed(path, b"\nabc", b"\nabd"))


def test_members_that_are_not_arrays_are_ignored(tmp_path):
    path = archive(tmp_path / "a.npz", x=npy())
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as written:
        written.writestr("readme.txt", bytes(64 * MIB))
    assert list(read_npz(path)) == ["x"]


# -- paths that are not regular files, and damaged bytes --------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="named pipes and symbolic links")
@pytest.mark.parametrize("suffix", [".npz", ".csv", ".tsv"])
def test_paths_that_are_not_regular_files_are_refused(tmp_path, suffix):
    os.mkfifo(tmp_path / f"pipe{suffix}")
    (tmp_path / f"folder{suffix}").mkdir()
    (tmp_path / f"loop{suffix}").symlink_to(tmp_path / f"loop{suffix}")
    (tmp_path / f"device{suffix}").symlink_to("/dev/zero")
    names = [
        tmp_path / f"{kind}{suffix}" for kind in ("pipe", "folder", "loop", "device", "none", "nul\0byte")
    ]
    for name in [*names, tmp_path / ("long" * 100 + suffix), f"~nobody-of-that-name/a{suffix}"]:
        sentence(lambda name=name: data.load(name, target=None if suffix == ".npz" else "y"))


def test_a_data_set_with_invalid_paths_is_refused(tmp_path):
    (tmp_path / "mnist").mkdir()
    if os.name == "posix":
        os.mkfifo(tmp_path / "mnist" / "train-images-idx3-ubyte.gz")
    assert "was not found" in sentence(data.load, "mnist", tmp_path)
    sentence(data.load, "mnist", tmp_path / ("long" * 100))
    sentence(data.load, "x" * 100_000)


def mutated(content: bytes, draws: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(draws.choice([1, 1, 2, 8])):
        if not changed:
            break
        place, how = draws.randrange(len(changed)), draws.randrange(5)
        if how == 0:
            changed[place] ^= 1 << draws.randrange(8)
        elif how == 1:
            changed[place] = draws.choice(b"\x00\xff\x7f\x80=(,-9")
        elif how == 2:
            del changed[place : place + draws.choice([1, 4, 100])]
        elif how == 3:
            changed[place:place] = changed[place : place + draws.choice([1, 4, 100])]
        else:
            changed[place : place + 4] = struct.pack("<I", draws.choice([0, 1, 2**31, 2**32 - 1]))
    return bytes(changed)


def whole_idx():
    return struct.pack(">4B3I", 0, 0, 8, 3, 5, 4, 4) + bytes(range(80))


def whole_npz():
    buffer = io.BytesIO()
    np.savez_compressed(buffer, x=np.arange(120.0).reshape(30, 4), y=np.array(["cat", "dog", "emu"] * 10))
    return buffer.getvalue()


def whole_csv():
    return b'u,"v ,",w\n' + b"".join(
        b"%d.5,%s,%d\n" % (i, (b"red", b"blue")[i % 2], i % 3) for i in range(40)
    )


@pytest.mark.parametrize(
    ("name", "content", "read"),
    [
        ("a.npz", whole_npz(), data.load),
        ("a.csv", whole_csv(), lambda path: data.load(path, target="w")),
        ("a.idx", whole_idx(), read_idx),
        ("a.gz", gzip.compress(whole_idx()), read_idx),
    ],
    ids=["npz", "csv", "idx", "idx.gz"],
)
def test_damaged_files_give_data_or_an_error(tmp_path, name, content, read):
    path = tmp_path / name
    path.write_bytes(content)
    read(path)
    draws = random.Random(name)
    refused = 0
    for _ in range(300):
        path.write_bytes(mutated(content, draws))
        try:
            read(path)
        except SzilardError:
            refused += 1
    assert refused > 30


def test_damaged_arrays_with_a_valid_checksum(tmp_path):
    """The archive is valid, but its arrays are damaged, which the checksum does not detect."""
    buffer = io.BytesIO()
    np.save(buffer, np.arange(12.0).reshape(3, 4))
    draws = random.Random(0)
    outcomes = set()
    for _ in range(400):
        path = archive(tmp_path / "a.npz", x=mutated(buffer.getvalue(), draws))
        try:
            outcomes.add(read_npz(path)["x"].size <= 96)
        except SzilardError:
            outcomes.add("refused")
    assert outcomes == {True, "refused"}


def test_the_maximum_ratio_of_deflate():
    """Deflate expands by at most a factor of 1032, the limit that the idx reader uses."""
    packed = zlib.compress(bytes(10 * MIB), 9)
    assert 1032 * len(packed) > 10 * MIB
