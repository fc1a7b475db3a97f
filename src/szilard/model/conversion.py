"""Convert weights between file formats, bit for bit: ``.szd``, ``.safetensors`` and PyTorch."""

from __future__ import annotations

import io
import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from szilard import atomic, file
from szilard.errors import SzilardError
from szilard.file.error import SzilardFileError, printable
from szilard.file.state import contiguous, copied, storage, with_meta
from szilard.model import checkpoint, formats, schema, stored
from szilard.model.formats import SAFETENSORS, SZD, Format

TORCH = (".pt", ".pth", ".bin", ".ckpt")  #: suffixes of files that are written with torch.save
_META = (
    "szilard.meta"  # in the metadata of a safetensors file: metadata of the .szd file it was converted from
)
_TIES = "szilard.ties"  # the same for its tied tensors
_SAFETENSORS_META = "safetensors"  # in the metadata of a .szd file: metadata of the original safetensors file
_MOST_META = 1 << 20  # characters


@dataclass(frozen=True)
class Converted:
    """Result of a conversion.

    Attributes:
        tensors: number of tensors.
        bytes: size of the new file.
        notes: messages for the user, one sentence each.
    """

    tensors: int
    bytes: int
    notes: tuple[str, ...]


def convert(source: str | Path, target: str | Path, *, key: str | None = None) -> Converted:
    """Write the tensors of a file in another format, with the same names, types, shapes and bits.

    No code from the file is run, and nothing is rounded: a ``.szd`` file holds uncompressed tensors exactly. Names keep
    their prefixes. Tied tensors stay tied in ``.szd`` and ``.pt`` files. A ``.safetensors`` file cannot tie tensors: it
    holds a copy of each, and its metadata lists the ties so that converting back restores them.

    Args:
        source: a ``.szd`` or safetensors file, a PyTorch state dict or checkpoint, or a TorchScript archive.
        target: file to write; its suffix determines the format: ``.szd``, ``.safetensors``, ``.pt``, ``.pth``, ``.bin``
            or ``.ckpt``. An existing file is replaced atomically.
        key: the group to take if a checkpoint holds several.

    Raises:
        SzilardFileError: the source cannot be read, or the target format cannot hold its tensors.
        SzilardError: the target is the source, has an unknown suffix, or cannot be written.
    """
    source, target = Path(source), Path(target)
    suffix = target.suffix.lower()
    if suffix not in (SZD, SAFETENSORS, *TORCH):
        raise SzilardError(
            f"{target} has a suffix that cannot be written; give it a name that ends in {SZD}, {SAFETENSORS} or .pt"
        )
    if target.exists() and source.exists() and source.samefile(target):
        raise SzilardError(f"{target} is the file to be converted; give another name to write")
    state, meta, notes = _read(source, key)
    if not state:
        raise SzilardFileError(f"{source} has no tensors; there is nothing to convert")
    if suffix == SZD:
        data = file.dumps(file.from_state_dict(state, meta=meta))
        if formats.of(source) != Format.SZD:
            notes.append(
                "the weights are exactly those of the original; szilard compress makes a much smaller file by rounding"
            )
    elif suffix == SAFETENSORS:
        data = safetensors_bytes(state, meta)
    else:
        data = _torch_bytes(state)
        if meta:
            notes.append(f"a state dict holds only tensors: {_listed(meta)} of {source.name} is left out")
    atomic.write(target, data, follow=True)
    return Converted(len(state), len(data), tuple(notes))


def safetensors_bytes(state: Mapping[str, Tensor], meta: Mapping[str, Any]) -> bytes:
    """A safetensors file of a state dict, with the metadata needed to convert it back to the same ``.szd`` file."""
    from szilard.model import safetensors_file

    theirs = meta.get(_SAFETENSORS_META)
    metadata: dict[str, str] = dict(theirs) if isinstance(theirs, dict) and _is_metadata(theirs) else {}
    rest = {name: value for name, value in meta.items() if name != _SAFETENSORS_META}
    if rest:
        metadata[_META] = json.dumps(rest)
    first: dict[Any, str] = {}
    ties = {
        name: known
        for name, value in state.items()
        if (known := first.setdefault(storage(value), name)) != name
    }
    if ties:
        metadata[_TIES] = json.dumps(ties)
    return safetensors_file.dumps(state, {"format": "pt", **metadata})


def _read(source: Path, key: str | None) -> tuple[Mapping[str, Tensor], dict[str, Any], list[str]]:
    """Tensors, metadata of a ``.szd`` file, and messages for the user."""
    kind = formats.of(source)
    if kind == Format.SZD:
        if key is not None:
            raise SzilardError(f"{source} has one set of tensors; leave --key out")
        state, meta = with_meta(source)
        return state, meta, []
    if kind == Format.TORCH and (described := _network(source)) is not None:
        return *described, []
    found = stored.read(source)
    label, tensors = found.group(key)
    notes = [f"tensors of {printable(label)[:80]!r}"] if label else []
    left = [name for name, value in found.others.get(label, {}).items() if not isinstance(value, dict)]
    if left:
        notes.append(f"left out, because they are not tensors: {stored.listed(left)}")
    if kind != Format.SAFETENSORS:
        return OrderedDict(tensors), {}, notes
    tensors, meta = _with_ties(tensors, dict(found.metadata or {}))
    return tensors, meta, notes


def _network(source: Path) -> tuple[Mapping[str, Tensor], dict[str, Any]] | None:
    """The tensors of a network that szilard fit saved, and the metadata of its ``.szd`` file; None for other files."""
    from szilard.model import saved_network

    if not saved_network.is_finished(source):
        return None
    content = checkpoint.load(source, "network")
    saved = schema.read(source, content)
    state = saved_network.state_of(source, content.get("state_dict"))
    return state, saved_network.meta_of(saved)


def _with_ties(
    tensors: dict[str, Tensor], metadata: dict[str, str]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Restore ties and metadata of a safetensors file that was converted from ``.szd``; invalid entries are ignored."""
    ties, meta = (_table(metadata.pop(name, None)) for name in (_TIES, _META))
    for name, other in ties.items():
        if (
            isinstance(other, str)
            and name in tensors
            and other in tensors
            and _same(tensors[name], tensors[other])
        ):
            tensors[name] = tensors[other]
    if metadata.get("format") == "pt":
        del metadata["format"]
    return tensors, meta | ({_SAFETENSORS_META: metadata} if metadata else {})


def _table(text: str | None) -> dict[str, Any]:
    from szilard import plain_json

    try:
        found = plain_json.loads(text) if text and len(text) <= _MOST_META else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _is_metadata(value: dict[Any, Any]) -> bool:
    return all(isinstance(text, str) for pair in value.items() for text in pair)


def _torch_bytes(state: Mapping[str, Tensor]) -> bytes:
    """A state dict written with torch.save; each tensor without the rest of its storage, and tied tensors once."""
    copies: dict[Any, Tensor] = {}
    plain: OrderedDict[str, Tensor] = OrderedDict()
    for name, value in state.items():
        place = storage(value)
        if place not in copies:
            copies[place] = copied(value)
        plain[name] = copies[place]
    buffer = io.BytesIO()  # torch's own writer aborts the process on a full disk
    torch.save(plain, buffer)
    return buffer.getvalue()


def _same(one: Tensor, other: Tensor) -> bool:
    return (
        one.dtype == other.dtype
        and one.shape == other.shape
        and torch.equal(*(contiguous(value).reshape(-1).view(torch.uint8) for value in (one, other)))
    )


def _listed(meta: Mapping[str, Any]) -> str:
    return "the metadata (" + stored.listed(list(meta)) + ")"
