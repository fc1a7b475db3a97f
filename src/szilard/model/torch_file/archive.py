"""Files of current versions of torch: a zip archive of a pickle and storages."""

from __future__ import annotations

import io
import re
import struct
import zipfile
from typing import Any

from szilard.model.torch_file.refusals import Damaged, Objects
from szilard.model.torch_file.storage import Storage, named
from szilard.model.torch_file.unpickler import Unpickler

_CODE = re.compile(r"[^/]+/code/")  # of TorchScript


def read(data: bytes, lenient: bool) -> Any:
    """The object in an archive; see :func:`szilard.model.torch_file.loads`."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, OverflowError, NotImplementedError, struct.error) as error:
        raise Damaged(str(error)) from error
    members = archive.infolist()
    if lenient:  # TorchScript compresses its code, which is not read here
        members = [info for info in members if not _CODE.match(info.filename)]
    infos = {info.filename: info for info in members}
    # torch does not compress records, so together they cannot be larger than the file.
    if sum(info.file_size for info in infos.values()) > len(data) or len(infos) != len(members):
        raise Damaged("records that are larger than the file")
    if any(info.compress_type != zipfile.ZIP_STORED for info in infos.values()):
        raise Damaged("compressed records, which torch does not write")
    top = next((name.removesuffix("data.pkl") for name in infos if name.endswith("/data.pkl")), None)
    if top is None or top.count("/") != 1:
        raise Damaged("no data.pkl")
    if infos.get(f"{top}byteorder") and archive.read(f"{top}byteorder") != b"little":
        raise Objects("tensors of a big-endian machine")
    made: dict[str, Storage] = {}

    def storage(pid: Any) -> Storage:
        dtype, key, count = named(pid)
        if key not in made:
            content = bytearray(archive.read(f"{top}data/{key}"))  # zipfile verifies the checksum
            if len(content) < count * dtype.itemsize:
                raise Damaged("a truncated storage")
            made[key] = Storage(content, dtype, count)
        if made[key].dtype != dtype:
            raise Damaged("a storage of two types")
        return made[key]

    for info in infos.values():  # also unused records, so that a flipped byte anywhere is detected
        archive.read(info.filename) if not info.filename.startswith(f"{top}data/") else None
    found = Unpickler(io.BytesIO(archive.read(f"{top}data.pkl")), storage, lenient).load()
    for name in infos:
        if name.startswith(f"{top}data/") and name.removeprefix(f"{top}data/") not in made:
            archive.read(name)
    return found
