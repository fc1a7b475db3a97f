"""Declared sizes beyond the content are refused with little memory."""

from __future__ import annotations

import pickle
import subprocess
import sys
import zlib

import file_tools
import numpy as np
import pytest
from cli_tools import environment
from hostile_files import (
    FLOAT32,
    MIB,
    NOISE,
    SCALAR,
    forged,
    levels,
    refused,
)

from szilard import file
from szilard.file import (
    Document,
    Levels,
    Mask,
    SzilardFileError,
    deflate,
)
from szilard.file.kinds.constant import ConstantFields
from szilard.file.kinds.full_mask import FullMaskFields
from szilard.file.kinds.levels import Coding
from szilard.file.kinds.mask import MaskFields
from szilard.file.kinds.planes import PlanesFields
from szilard.file.kinds.raw import RawFields
from szilard.file.limits import MOST_RECORDS
from szilard.file.names import DICTIONARY


def zeros(count):
    """A deflate stream of ``count`` zero bytes: that of one MiB, which refers to nothing before it, repeated."""
    coder = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = coder.compress(bytes(MIB)) + coder.flush(zlib.Z_FULL_FLUSH)
    return piece * (count // MIB) + coder.flush()


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
        forged(SCALAR, names=zeros(50 * MIB)),
        "the table of names has too many bytes",
    ),
    "metadata": (forged(meta=zeros(100 * MIB)), "the metadata has too many bytes"),
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
