"""Files of arrays, written by hand, and the message of their refusal."""

from __future__ import annotations

import struct
import tracemalloc
import zipfile

import pytest

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
