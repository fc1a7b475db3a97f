"""Detect the format of a file of weights from its content, not from its name."""

from __future__ import annotations

import enum
import struct
import zipfile
from pathlib import Path
from typing import BinaryIO, NoReturn

from szilard.file.error import SzilardFileError
from szilard.file.sections import MAGIC

SZD, SAFETENSORS = ".szd", ".safetensors"  #: suffixes
_HEAD = 4096  # bytes that are read to detect the format
_STATE = "a state dict of PyTorch (torch.save(network.state_dict(), ...)) or a .safetensors file"
_MOST_FIELDS = 1 << 16  # of a protobuf message
_ONNX = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26})  # fields of onnx.proto's ModelProto
_ONNX_NUMBERS = frozenset({1, 5})  # fields that are numbers
_ONNX_VERSION, _ONNX_GRAPH = 1, 7


class Format(enum.Enum):
    """Formats whose weights can be read."""

    SZD = "a .szd file"
    SAFETENSORS = "a safetensors file"
    TORCHSCRIPT = "a TorchScript archive"
    TORCH = "a file of torch.save"


# Magic bytes of other formats: offset, bytes, name of the format, advice.
_MARKS: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes", f"load it there and save its weights as {_STATE}"),
    (0, b"GGUF", "a GGUF file, whose weights are already quantized", f"start from the original weights, as {_STATE}"),
    (0, b"\x93NUMPY", "a NumPy array", f"give {_STATE}"),
    (0, b"version https://git-lfs.github.com", "a Git LFS pointer and not the file itself",
     "download the file with git lfs pull"),
    (0, b"\x1f\x8b", "compressed by gzip", "unpack it first"),
    (0, b"\x28\xb5\x2f\xfd", "compressed by zstd", "unpack it first"),
    (0, b"\xfd7zXZ\x00", "compressed by xz", "unpack it first"),
    (0, b"BZh", "compressed by bzip2", "unpack it first"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it first"),
    (4, b"TFL3", "a TensorFlow Lite model", f"start from the network that it was made from, as {_STATE}"),
    (4, b"ORTM", "an ONNX Runtime model", f"start from the network that it was made from, as {_STATE}"),
    (4, b"ET12", "an ExecuTorch program", f"start from the network that it was made from, as {_STATE}"),
)  # fmt: skip
_LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # start of a file of torch before 1.6
_TORCH_TAR = b"pickle", b"storages", b"sys_info", b"tensors"  # members of a file of torch before 0.1.10


def of(path: Path) -> Format:
    """The format of a file, from its content.

    It does not check that the file is complete. For a file that is missing or not recognised, the suffix determines the
    format, and the reader of that format reports the error.

    Raises:
        SzilardFileError: the file has a known format whose weights cannot be read; the message says what to do.
    """
    try:
        if not path.is_file():
            return _by_name(path)
        with path.open("rb") as file:
            return _look(path, file, path.stat().st_size)
    except (OSError, ValueError):
        return _by_name(path)


def _by_name(path: Path) -> Format:
    return {SZD: Format.SZD, SAFETENSORS: Format.SAFETENSORS}.get(path.suffix, Format.TORCH)


def _look(path: Path, file: BinaryIO, size: int) -> Format:
    head = file.read(_HEAD)
    if head.startswith(MAGIC):
        return Format.SZD
    if not head:
        _refuse(path, "empty", "download or make it again")
    if head.startswith(b"PK\x03\x04"):
        return _zip(path, file)
    for at, mark, what, advice in _MARKS:
        if head[at : at + len(mark)] == mark:
            _refuse(path, what, advice)
    start = head.lstrip()[:14].lower()
    if start.startswith((b"<!doctype html", b"<html", b"<?xml")):
        _refuse(path, "a web page and not a file of weights", "download the file itself")
    if head[257:262] == b"ustar":
        _tar(path, file)
    if is_safetensors(head, size):
        return Format.SAFETENSORS
    if start.startswith(b"{"):
        what = "an index of several files" if b'"weight_map"' in head else "a JSON file"
        _refuse(path, what, "give the file that has the weights")
    if head.startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")) and not head.startswith(_LEGACY):
        _refuse(
            path,
            "a Python pickle, which is not loaded because that can run code",
            f"load it with its own program if you trust it, and save its weights as {_STATE}",
        )
    if _is_onnx(file, size):
        _refuse(path, "an ONNX model", f"start from the network that it was exported from, as {_STATE}")
    return _by_name(path)


def is_safetensors(head: bytes, size: int) -> bool:
    """Whether a file of ``size`` bytes that begins with ``head`` looks like a safetensors file."""
    if len(head) < 9 or head[8:9] != b"{":
        return False
    (length,) = struct.unpack("<Q", head[:8])
    return bool(length < 1 << 40 and (length + 8 <= size or head[9:10] in (b'"', b"}")))


def _zip(path: Path, file: BinaryIO) -> Format:
    try:
        names = zipfile.ZipFile(file).namelist()
    except (zipfile.BadZipFile, ValueError, OverflowError, NotImplementedError, struct.error):
        return Format.TORCH  # probably truncated: the reader reports it
    leaves = {name.partition("/")[2] for name in names}
    if "data.pkl" in leaves:
        script = "constants.pkl" in leaves and any(leaf.startswith("code/") for leaf in leaves)
        return Format.TORCHSCRIPT if script else Format.TORCH
    if names and all(name.endswith(".npy") for name in names):
        _refuse(path, "a NumPy archive (.npz)", f"save its arrays as {_STATE}")
    if "model.weights.h5" in names:
        _refuse(path, "a Keras model", f"load it there and save its weights as {_STATE}")
    if (
        any(
            "serialized_exported_program" in name or name.startswith(("models/", "data/weights/"))
            for name in names
        )
        or {"archive_format", "archive_version"} & leaves
    ):
        _refuse(
            path,
            "a torch.export program",
            "load it with torch.export.load and save its state_dict with torch.save",
        )
    if any("extern_modules" in name for name in names):
        _refuse(
            path,
            "a torch.package archive, which contains code",
            f"load it there and save its weights as {_STATE}",
        )
    _refuse(path, "a ZIP archive without PyTorch weights", f"unpack it, or give {_STATE}")


def _tar(path: Path, file: BinaryIO) -> NoReturn:
    members = set()
    at, size = 0, path.stat().st_size
    for _ in range(64):
        file.seek(at)
        header = file.read(512)
        if len(header) < 512 or header[257:262] != b"ustar":
            break
        members.add(header[:100].split(b"\0")[0].removeprefix(b"./"))
        try:
            length = int(header[124:136].split(b"\0")[0] or b"0", 8)
        except ValueError:
            break
        at += 512 + -(-length // 512) * 512
        if at >= size:
            break
    if set(_TORCH_TAR) <= members:
        _refuse(
            path,
            "a tar archive, as torch wrote before version 0.1.10",
            "load it with torch.load if you trust it, and save it again",
        )
    _refuse(path, "a tar archive", "unpack it first")


def _is_onnx(file: BinaryIO, size: int) -> bool:
    """Whether the bytes are the fields of an ONNX protobuf message, up to the end or to where the file is truncated."""
    file.seek(0)
    seen: set[int] = set()
    at = 0
    for _ in range(_MOST_FIELDS):
        if at >= size:
            break
        file.seek(at)
        tag, used = _varint(file.read(20))
        number, wire = tag >> 3, tag & 7
        if not used or number not in _ONNX or wire != (0 if number in _ONNX_NUMBERS else 2):
            return False
        file.seek(at + used)
        value, more = _varint(file.read(10))
        if not more:
            return False
        seen.add(number)
        at += used + more + (value if wire == 2 else 0)
    return {_ONNX_VERSION, _ONNX_GRAPH} <= seen


def _varint(data: bytes) -> tuple[int, int]:
    """A varint and its length in bytes; length 0 if it does not end."""
    value = 0
    for place, byte in enumerate(data[:10]):
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value, place + 1
    return 0, 0


def _refuse(path: Path, what: str, advice: str) -> NoReturn:
    raise SzilardFileError(f"{path} is {what}; {advice}")
