"""Weights from one kind of file to another, bit for bit: ``.szd``, ``.safetensors`` and PyTorch's."""

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

TORCH = (".pt", ".pth", ".bin", ".ckpt")  #: ends of names that are written with torch.save
_META = "szilard.meta"  # metadata of a safetensors file: those of the .szd file that it was
_TIES = "szilard.ties"  # ... and which tensors were one
_THEIRS = "safetensors"  # metadata of a .szd file: those of the safetensors file that it was
_MOST_META = 1 << 20  # letters


@dataclass(frozen=True)
class Converted:
    """What was written.

    Attributes:
        tensors: how many.
        bytes: of the new file.
        notes: what a person should know, one sentence each.
    """

    tensors: int
    bytes: int
    notes: tuple[str, ...]


def convert(source: str | Path, target: str | Path, *, key: str | None = None) -> Converted:
    """Write the tensors of a file as another kind of file: the same names, types, shapes and bits.

    Nothing in the file is run, and nothing is rounded: a ``.szd`` file of what was not compressed keeps exact bytes.
    Names keep their prefixes. Tied tensors stay tied in ``.szd`` and ``.pt`` files; a ``.safetensors`` file cannot tie
    them and holds each, with a note in its metadata by which they are tied again on the way back.

    Args:
        source: a ``.szd`` file, one of safetensors, a state dict or checkpoint of PyTorch, or a TorchScript archive.
        target: what to write, by the end of its name: ``.szd``, ``.safetensors``, ``.pt``, ``.pth``, ``.bin`` or
            ``.ckpt``. A file that is there is replaced in one step.
        key: the group of a checkpoint that holds several.

    Raises:
        SzilardFileError: the source cannot be read, or the target cannot hold it.
        SzilardError: the target is the source or of an unknown kind, or cannot be written.
    """
    source, target = Path(source), Path(target)
    suffix = target.suffix.lower()
    if suffix not in (SZD, SAFETENSORS, *TORCH):
        raise SzilardError(
            f"{target} is of no kind that can be written; give it a name that ends in {SZD}, {SAFETENSORS} or .pt"
        )
    if target.exists() and source.exists() and source.samefile(target):
        raise SzilardError(f"{target} is the file to be converted; name another one to write")
    state, meta, notes = _read(source, key)
    if not state:
        raise SzilardFileError(f"{source} holds no tensors; nothing can be converted")
    if suffix == SZD:
        data = file.dumps(file.from_state_dict(state, meta=meta))
        if formats.of(source) != Format.SZD:
            notes.append(
                "the bits are the original's; szilard compress makes a much smaller file, by rounding them"
            )
    elif suffix == SAFETENSORS:
        data = safetensors_bytes(state, meta)
    else:
        data = _torch_bytes(state)
        if meta:
            notes.append(f"a state dict holds tensors alone: {_listed(meta)} of {source.name} stays behind")
    atomic.write(target, data, follow=True)
    return Converted(len(state), len(data), tuple(notes))


def safetensors_bytes(state: Mapping[str, Tensor], meta: Mapping[str, Any]) -> bytes:
    """A safetensors file of a state dict, with what is needed to make the same ``.szd`` file of it again."""
    from szilard.model import safetensors_file

    theirs = meta.get(_THEIRS)
    metadata: dict[str, str] = dict(theirs) if isinstance(theirs, dict) and _is_metadata(theirs) else {}
    rest = {name: value for name, value in meta.items() if name != _THEIRS}
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
    """Tensors, metadata of a ``.szd`` file, and what is to be told."""
    kind = formats.of(source)
    if kind == Format.SZD:
        if key is not None:
            raise SzilardError(f"{source} holds one set of tensors; leave --key out")
        state, meta = with_meta(source)
        return state, meta, []
    if kind == Format.TORCH and (described := _network(source)) is not None:
        return *described, []
    found = stored.read(source)
    label, tensors = found.group(key)
    notes = [f"tensors of {printable(label)[:80]!r}"] if label else []
    left = [name for name, value in found.others.get(label, {}).items() if not isinstance(value, dict)]
    if left:
        notes.append(f"left out, because they are no tensors: {stored.listed(left)}")
    if kind != Format.SAFETENSORS:
        return OrderedDict(tensors), {}, notes
    tensors, meta = _as_before(tensors, dict(found.metadata or {}))
    return tensors, meta, notes


def _network(source: Path) -> tuple[Mapping[str, Tensor], dict[str, Any]] | None:
    """The tensors of a network of szilard fit, and what its ``.szd`` file says of it; None of another file."""
    from szilard.model import saved_network

    if not saved_network.is_finished(source):
        return None
    content = checkpoint.load(source, "network")
    saved = schema.read(source, content)
    state = saved_network.state_of(source, content.get("state_dict"))
    return state, saved_network.meta_of(saved)


def _as_before(
    tensors: dict[str, Tensor], metadata: dict[str, str]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Ties and metadata of the ``.szd`` file that a safetensors file was; what does not fit is left as it is."""
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
    return tensors, meta | ({_THEIRS: metadata} if metadata else {})


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
    """A state dict as torch.save writes it; of each tensor its entries alone, and tied ones once."""
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
    return "what the metadata say (" + stored.listed(list(meta)) + ")"
