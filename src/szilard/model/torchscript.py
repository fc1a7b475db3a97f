"""Read the weights in a TorchScript archive without running its code.

The archive pickles its modules as objects with attributes. Its code has lines that list the names of the parameters and
buffers of each class; these lines are read as text to find the weights.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from torch import Tensor

from szilard.file.error import SzilardFileError
from szilard.model import checkpoint
from szilard.model.torch_file import Unread

_CODE = re.compile(r"[^/]+/code/(?P<module>.+)\.py")
_CLASS = re.compile(r"class (\w+)\(Module\):")
_NAMES = re.compile(r"  __(parameters|buffers)__ = \[(.*)\]")
_MOST_CODE = 16 << 20  # bytes, of one file and of all of them
_MOST_PARTS = 1 << 16  # attributes of all modules
_MOST_DEPTH = 64  # of nested modules


def load(path: Path) -> dict[str, Tensor]:
    """Parameters and buffers by name, in the order of a state dict; a module that is used twice has two names.

    Raises:
        SzilardFileError: the archive is damaged, or its modules are nested too deeply.
    """
    root = checkpoint.load_plain(path, "file", lenient=True)
    return dict(attributes(path, root, weights(path.read_bytes())))


def weights(archive: bytes) -> dict[str, frozenset[str]]:
    """Names of the parameters and buffers of each class; only classes whose code lists both."""
    found: dict[str, dict[str, list[str]]] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            left = _MOST_CODE
            for info in opened.infolist():
                match = _CODE.fullmatch(info.filename)
                left -= info.file_size if match else 0
                if match is None or left < 0:
                    continue
                with opened.open(info) as text:
                    lines = text.read(info.file_size).decode("utf-8", "replace").splitlines()
                found |= _classes(match["module"].replace("/", "."), lines)
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, RuntimeError, zlib.error):
        return {}
    return {
        name: frozenset((*lists["parameters"], *lists["buffers"]))
        for name, lists in found.items()
        if len(lists) == 2
    }


def attributes(path: Path, root: object, known: Mapping[str, frozenset[str]]) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors of a module and of its submodules; for a class that is not in ``known``, all tensors.

    Raises:
        SzilardFileError: there are too many.
    """
    left = _MOST_PARTS
    stack: list[tuple[str, object, int]] = [("", root, 0)]
    while stack:
        prefix, module, depth = stack.pop()
        inside: list[tuple[str, object, int]] = []
        if not isinstance(module, Unread):
            continue
        names = known.get(module.name)
        for name, value in module.attributes.items():
            left -= 1
            if left < 0 or depth > _MOST_DEPTH:
                raise SzilardFileError(f"{path} has too many modules; download or make it again")
            if not isinstance(name, str):
                continue
            if isinstance(value, Tensor) and (names is None or name in names):
                yield prefix + name, value
            elif isinstance(value, Unread) and value.attributes:
                inside.append((f"{prefix}{name}.", value, depth + 1))
        stack += reversed(inside)


def _classes(module: str, lines: list[str]) -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = {}
    current: dict[str, list[str]] | None = None
    for line in lines:
        if match := _CLASS.match(line):
            current = found[f"{module}.{match[1]}"] = {}
        elif current is not None and (match := _NAMES.match(line)):
            current[match[1]] = re.findall(r'"([^"]*)"', match[2])
    return found
