"""Invalid .szd files, and checks that they are refused correctly."""

from __future__ import annotations

import dataclasses
import tracemalloc

import file_tools
import numpy as np

from szilard import file
from szilard.file import (
    Document,
    SzilardFileError,
    dtypes,
    sections,
)
from szilard.file.columns import pack as pack_fields
from szilard.file.columns import unpack as unpack_fields
from szilard.file.fields import Fields
from szilard.file.kinds.constant import ConstantFields
from szilard.file.kinds.levels import LevelsFields
from szilard.file.names import pack as pack_names
from szilard.file.sections import Parts

WHOLE = file_tools.everything()
DATA = file.dumps(WHOLE)
PARTS = sections.split(DATA)
TABLE = unpack_fields(PARTS.fields, PARTS.count)
MIB = 1 << 20
FLOAT32 = dtypes.named("float32")


def opened(data: bytes, traced: bool = True) -> Document | str:
    """The document in ``data``, or the error message. With ``traced``, checks that little memory is used.

    Time is measured by benchmarks/faults.py instead, because tests must not fail on a slow machine.
    """
    result = attempt(data)
    if not traced:
        return result
    tracemalloc.start()  # slow, so the result is computed without it first
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
    """The error message for ``data``, which must be refused."""
    sentence = opened(data, traced)
    assert isinstance(sentence, str), "it opened"
    assert sentence.startswith("the .szd file cannot be opened: ")
    assert "; " in sentence
    assert "\n" not in sentence
    return sentence


def harmless(data: bytes) -> None:
    """Check that ``data`` is refused or holds exactly the tensors that were written."""
    found = opened(data)
    if isinstance(found, Document):
        assert file_tools.same(dataclasses.replace(WHOLE, meta=found.meta), found)


def forged(*table: Fields, names: bytes | None = None, **parts: bytes) -> bytes:
    """A file with these fields; the structure is valid, but the declared sizes may be wrong."""
    blocks: dict = {
        "content": bytes(16),
        "names": pack_names([f"{i:x}" for i in range(len(table))]) if names is None else names,
        "fields": pack_fields(table),
        **dict.fromkeys(("meta", "adaptive", "static", "raw"), b""),
    }
    return sections.join(Parts(count=len(table), **blocks | parts))


def levels(*shape: int, **fields) -> Fields:
    return LevelsFields(FLOAT32, shape, **fields)


NOISE = np.random.default_rng(0).bytes(2000)
SCALAR = ConstantFields(FLOAT32, (), data=bytes(4))
