"""Data files whose headers do not match their content, and files that would take too much memory."""

from __future__ import annotations

import gzip
import struct
import zipfile

import numpy as np
import pytest
from array_files import MIB, archive, npy, sentence, zeros

from szilard import data
from szilard.data import limits
from szilard.data.idx import read_idx
from szilard.data.npz import read_npz

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
