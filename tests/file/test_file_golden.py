"""A file of the first version of the format must open to the same tensors, on every machine and in every version."""

from __future__ import annotations

import hashlib
from pathlib import Path

import file_tools
import szd_reference

from szilard import file
from szilard.file import sections
from szilard.file.names import DICTIONARY
from szilard.file.steps import MANTISSAS

#: ``file.write(GOLDEN, file_tools.everything())``, once. If this fails, users' files can no longer be read.
GOLDEN = Path(__file__).parent / "everything.szd"
CONTENT = "760f826776354c04cd48dc1821f49e71"
VALUES = "6253702dd4da8c7851523e6994681bd3a1bcdd0389e553203712133d9fd01327"


def test_golden_file():
    assert file.verify(GOLDEN).content == CONTENT
    document = file.read(GOLDEN)
    assert file_tools.same(document, file_tools.everything())
    values = hashlib.sha256(b"".join(array.tobytes() for array in file.arrays(document).values()))
    assert values.hexdigest() == VALUES


def test_golden_file_by_the_reference_reader():
    found, _ = szd_reference.read(GOLDEN.read_bytes())
    values = hashlib.sha256(b"".join(entries for _, _, entries in found.values()))
    assert values.hexdigest() == VALUES


def test_the_streams_are_written_unchanged():
    """Other parts depend on the installed zlib; the streams must not depend on the machine."""
    old, new = sections.split(GOLDEN.read_bytes()), sections.split(file.dumps(file_tools.everything()))
    assert new.adaptive == old.adaptive
    assert new.static == old.static
    assert new.content == old.content


def test_the_documented_constants_are_those_of_the_library():
    assert DICTIONARY == szd_reference.DICTIONARY
    assert [f"{bits:08X}" for bits in MANTISSAS] == szd_reference.block("mantissas")
    assert list(file.dtypes.BY_NAME) == szd_reference.TYPES
