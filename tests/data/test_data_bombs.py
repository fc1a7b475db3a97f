"""Data files whose headers do not match their content, and files that would take too much memory."""

from __future__ import annotations

import gzip
import io
import os
import random
import struct
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest

from szilard import data
from szilard.data import limits
from szilard.data.idx import read_idx
from szilard.data.npz import read_npz
from szilard.errors import SzilardError

MIB = 1 << 20
LITTLE = 8 * MIB  # memory limit for refusing a file, whatever its header declares


def npy(descr="'|u1'", shape="(3,)", order="False", content=b"abc", version=1):
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}".encode("latin-1") + b"\n"
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + content


def archive(path, kind=zipfile.ZIP_DEFLATED, **members):
    with zipfile.ZipFile(path, "w", kind) as written:
        for name, content in members.items():
            written.writestr(f"{name}.npy", content)
    return path


def zeros(path, count, shape):
    """An archive of ``count`` deflated zero bytes, written without ever holding them."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as written, written.open("x.npy", "w") as member:
        member.write(npy(shape=shape, content=b""))
        for _ in range(count // MIB):
            member.write(bytes(MIB))
    return path


def sentence(read, *arguments):
    """The error message for a file; checks that little memory was used."""
    tracemalloc.start()
    try:
        with pytest.raises(SzilardError) as caught:
            read(*arguments)
        assert tracemalloc.get_traced_memory()[1] < LITTLE
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 2000
    return str(caught.value)


# -- bombs ------------------------------------------------------------------------------------------


def test_an_archive_of_zeros_is_refused_before_it_is_unpacked(tmp_path):
    path = zeros(tmp_path / "a.npz", 48 * MIB, f"({48 * MIB},)")
    assert "set SZILARD_DATA_GIB=" in sentence(data.load, path)


def test_many_arrays_count_together(tmp_path):
    part = npy("'<f8'", f"({MIB},)", content=bytes(8 * MIB))
    path = archive(tmp_path / "a.npz", **{f"x{i}": part for i in range(20)})
    assert "would take 0.16 GiB" in sentence(read_npz, path)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_gzipped_idx_file_of_zeros(tmp_path, rank):
    shape = (48, 1024, 1024)[:rank] if rank == 3 else (48 * MIB // 2 ** (rank - 1),) + (2,) * (rank - 1)
    path = tmp_path / "a.gz"
    with gzip.open(path, "wb") as file:
        file.write(struct.pack(f">4B{rank}I", 0, 0, 8, rank, *shape))
        for _ in range(48):
            file.write(bytes(MIB))
    assert "set SZILARD_DATA_GIB=" in sentence(read_idx, path)


def test_no_more_is_unpacked_than_an_idx_header_declares(tmp_path):
    path = tmp_path / "a.gz"
    with gzip.open(path, "wb") as file:
        file.write(struct.pack(">4B2I", 0, 0, 8, 1, 4, 0))
        for _ in range(48):
            file.write(bytes(MIB))
    assert "has more bytes than its header declares" in sentence(read_idx, path)


def test_no_more_is_unpacked_than_an_npy_header_declares(tmp_path):
    assert "has more bytes than its header declares" in sentence(
        read_npz, zeros(tmp_path / "a.npz", 48 * MIB, "(4,)")
    )


def test_the_limit_can_be_raised_by_a_variable(tmp_path, monkeypatch):
    path = archive(tmp_path / "a.npz", x=npy(shape=f"({20 * MIB},)", content=bytes(20 * MIB)))
    assert "SZILARD_DATA_GIB=1 " in sentence(read_npz, path)
    monkeypatch.setenv(limits.VARIABLE, "1")
    assert read_npz(path)["x"].shape == (20 * MIB,)
    monkeypatch.setenv(limits.VARIABLE, "0.001")
    assert "more than the limit of 0.00 GiB" in sentence(read_npz, path)
    for wrong in ("much", "-1", "0", "nan", "inf"):
        monkeypatch.setenv(limits.VARIABLE, wrong)
        assert "set it to a number of GiB" in sentence(read_npz, path)


def test_ordinary_compressed_data_are_read(tmp_path):
    """Images with a tenth of the pixels not black."""
    draws = np.random.default_rng(0)
    x = (draws.random((4000, 28, 28)) < 0.1) * draws.integers(0, 256, (4000, 28, 28))
    np.savez_compressed(tmp_path / "a.npz", x=x.astype(np.uint8), y=np.arange(4000) % 10)
    assert (read_npz(tmp_path / "a.npz")["x"] == x).all()


def test_an_archive_of_very_many_entries(tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as written:
        for i in range(20_000):
            written.writestr(f"{i}.npy", b"")
    assert "damaged or not an npz archive" in sentence(read_npz, path)


def test_sparse_files_are_refused_by_their_size(tmp_path):
    """A sparse file takes no space on disk, but its size is beyond the limit."""
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"):
        with open(folder / name, "wb") as file:
            file.truncate(3073 << 30)
    assert "would take" in sentence(data.load, "cifar10", tmp_path)
    with open(tmp_path / "t.csv", "wb") as file:
        file.truncate(1 << 40)
    assert "would take" in sentence(lambda: data.load(tmp_path / "t.csv", target="y"))


# -- headers ----------------------------------------------------------------------------------------

DEEP = "(" * 4000 + ")" * 4000
ODD = {
    "objects": npy("'|O'"),
    "records": npy("[('a', '<f8'), ('b', '|O')]"),
    "subarray": npy("'(1000000000,)i4'"),
    "several": npy("'i4,i4'"),
    "long double of 1 GB": npy("'<f999999999'"),
    "unknown": npy("'<z9'"),
    "no text": npy("3"),
    "negative": npy(shape="(-3,)"),
    "a float": npy(shape="(3.0,)"),
    "2^64": npy(shape=f"({1 << 64},)"),
    "overflow": npy(shape=f"({1 << 33}, {1 << 33}, {1 << 33})"),
    "huge beside zero": npy(shape=f"(0, {1 << 39}, {1 << 39})", content=b""),
    "huge text of no letters": npy("'<U0'", f"({1 << 39},)", content=b""),
    "very long digits": npy(shape=f"({'9' * 700},)"),
    "many axes": npy(shape="(" + "1, " * 64 + ")", content=b"a"),
    "a call": npy(shape="(__import__('os').getpid(),)"),
    "deep": npy(shape=DEEP),
    "minus minus": npy(shape="(" + "-" * 5000 + "3,)"),
    "order": npy(order="1"),
    "key twice": b"\x93NUMPY\x01\x00\x40\x00"
    + b"{'shape': (3,), 'shape': (3,), 'descr': '|u1', }".ljust(64)
    + b"abc",
    "key missing": b"\x93NUMPY\x01\x00\x20\x00" + b"{'descr': '|u1', }".ljust(32) + b"abc",
    "no dict": b"\x93NUMPY\x01\x00\x20\x00" + b"['descr']".ljust(32) + b"abc",
    "4 GB of header": b"\x93NUMPY\x02\x00\xff\xff\xff\xff{",
    "version 9": npy(version=9),
    "empty": b"",
    "magic only": b"\x93NUMPY",
    "cut short": npy(shape="(9,)"),
    "too long": npy(shape="(2,)"),
    "characters that are not valid Unicode": npy("'<U1'", "(1,)", content=b"\xff\xff\xff\x7f"),
    "half a pair": npy("'<U1'", "(1,)", content=b"\x00\xd8\x00\x00"),
}


@pytest.mark.parametrize("kind", ODD)
def test_an_invalid_array_is_named(tmp_path, kind):
    path = archive(tmp_path / "a.npz", x=ODD[kind], y=npy())
    message = sentence(read_npz, path)
    assert "a.npz" in message
    assert ("array x of" in message) or ("would take" in message)


def test_headers_in_other_styles_are_read(tmp_path):
    """Other orders of entries, other quotes, no trailing comma."""
    for header in (
        b"{'shape': (2, 2), 'fortran_order': True, 'descr': '<i2'}",
        b'{"descr": "<i2", "fortran_order": True, "shape": (2,2,) , }   \n',
        b"{'fortran_order':True,'descr':'<i2','shape':(2L,2L)}",
    ):
        content = (
            b"\x93NUMPY\x03\x00" + struct.pack("<I", len(header)) + header + struct.pack("<4h", 1, 2, 3, 4)
        )
        got = read_npz(archive(tmp_path / "a.npz", x=content))["x"]
        assert got.tolist() == [[1, 3], [2, 4]]


def test_arrays_of_every_plain_dtype_are_read(tmp_path):
    """The reader agrees with NumPy on files that NumPy writes."""
    draws = np.random.default_rng(0)
    arrays = {}
    kinds = "? i1 <i2 >i4 <i8 u1 >u2 <f2 >f4 <f8 <c8 <U3 S4"
    for number, kind in enumerate(kinds.split()):
        for rank in range(4):
            shape = tuple(draws.integers(0 if number % 3 else 1, 4, rank))
            values = draws.integers(0, 100, shape).astype(kind)
            arrays[f"a{number}_{rank}"] = np.asfortranarray(values) if rank % 2 else values
    for write in (np.savez, np.savez_compressed):
        write(tmp_path / "a.npz", **arrays)
        got = read_npz(tmp_path / "a.npz")
        assert got.keys() == arrays.keys()
        for name, array in arrays.items():
            assert got[name].dtype == array.dtype
            assert got[name].shape == array.shape
            assert (got[name] == array).all()


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
