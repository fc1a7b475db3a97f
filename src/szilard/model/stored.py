"""The weights in a file as people save them: bare, in a checkpoint, under the prefixes of a wrapper or a trainer.

Tensors keep the group that they lie in: the mapping of the file that holds them by name, ``state_dict`` or
``model.ema``, and an empty name for the file itself. Group, prefix and name are joined by dots: in a file of
``{"state_dict": {"model.fc.weight": ...}}`` there is one tensor ``state_dict.model.fc.weight``. What stands before the
names that a network has is the prefix of its weights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from szilard import file
from szilard.file.error import SzilardFileError, printable
from szilard.model import checkpoint, formats, safetensors_file, torchscript
from szilard.model.formats import Format
from szilard.model.torch_file import Unread

_MOST_DEPTH = 8  # of groups in groups
_MOST_ITEMS = 1024  # of a list, in which groups are called by their numbers
_MOST_LETTERS = 1024  # of a name; those in .szd files are no longer
_TRAINER = re.compile(r"optim|sched|scaler|callback|loops|rng|random|hyper|config", re.IGNORECASE)
_SHOWN = 3


@dataclass(frozen=True, eq=False)
class Stored:
    """What a file holds by name.

    Attributes:
        path: the file, for messages.
        groups: tensors by group and name.
        others: what has a name beside them and is no tensor.
        unread: class of an object that was not read, if there is any.
        script: whether the file is a TorchScript archive.
        metadata: of a safetensors file.
    """

    path: Path
    groups: dict[str, dict[str, Tensor]]
    others: dict[str, dict[str, Any]]
    unread: str | None = None
    script: bool = False
    metadata: Mapping[str, str] | None = None

    def only(self, key: str | None) -> Stored:
        """The same with the tensors of one group, or of one prefix in a group, alone.

        Raises:
            SzilardFileError: there are none.
        """
        if key is None:
            return self
        start = f"{key.rstrip('.')}."
        groups = {
            label: {name: tensor for name, tensor in tensors.items() if joined(label, name).startswith(start)}
            for label, tensors in self.groups.items()
        }
        groups = {label: tensors for label, tensors in groups.items() if tensors}
        if not groups:
            raise SzilardFileError(
                f"{self.path} has no tensors under {printable(key)[:200]!r}; it has {listed(self.labels())}"
            )
        return Stored(self.path, groups, self.others, self.unread, self.script, self.metadata)

    def has(self, name: str) -> bool:
        """Whether there is a tensor of a name, in any group and under any prefix."""
        return any(
            f".{joined(label, own)}".endswith(f".{name}")
            for label, tensors in self.groups.items()
            for own in tensors
        )

    def labels(self) -> list[str]:
        """Names of the groups that hold tensors."""
        return [label or "(the file itself)" for label, tensors in self.groups.items() if tensors]

    def group(self, key: str | None) -> tuple[str, dict[str, Tensor]]:
        """The tensors that must be the weights, where no network says what they are called; names keep their prefix.

        Raises:
            SzilardFileError: there are none, or several groups of them and no ``key`` that chooses.
        """
        found = self.only(key)
        groups = {label: tensors for label, tensors in found.groups.items() if tensors}
        if key is None:
            groups = {
                label: tensors for label, tensors in groups.items() if not _TRAINER.search(label)
            } or groups
        if len(groups) > 1:  # a counter or two beside the weights
            groups = {
                label: tensors
                for label, tensors in groups.items()
                if any(tensor.numel() > 1 for tensor in tensors.values())
            } or groups
        if not groups:
            found.refuse()
        if len(groups) > 1:
            known = listed([label or "(the file itself)" for label in groups])
            raise SzilardFileError(
                f"{self.path} holds several groups of tensors ({known}); choose one with --key (in Python: key=)"
            )
        label, tensors = next(iter(groups.items()))
        for name, value in self.others.get(label, {}).items():
            if isinstance(value, Unread) and value.name.startswith("torch._"):
                raise SzilardFileError(
                    f"{self.path} holds {printable(name)[:200]!r} as a sparse, quantized or other special tensor "
                    f"({printable(value.name)[:80]}); make it dense"
                )
        return label, tensors

    def refuse(self) -> None:
        """Say why a file holds no weights.

        Raises:
            SzilardFileError: always.
        """
        if self.unread is not None:
            raise SzilardFileError(
                f"{self.path} holds a whole pickled object ({printable(self.unread)[:80]}) and no state dict of "
                "tensors, and objects are not loaded because that can run code; save network.state_dict() instead"
            )
        if self.script:
            raise SzilardFileError(
                f"{self.path} holds no state dict of tensors: it is a TorchScript archive whose weights were frozen "
                "into its code; save network.state_dict() of the network that it was made from"
            )
        raise SzilardFileError(f"{self.path} holds no state dict of tensors; save network.state_dict()")


def read(path: Path) -> Stored:
    """What a ``.szd`` file, one of ``torch.save``, one of safetensors or a TorchScript archive holds.

    Nothing in the file is run.

    Raises:
        SzilardFileError: not there, damaged, or of another kind; the sentence says what to do.
    """
    kind = formats.of(path)
    if kind == Format.SZD:
        return of(path, file.load(path))
    if kind == Format.SAFETENSORS:
        tensors, metadata = safetensors_file.load(path)
        return Stored(path, {"": dict(tensors)}, {"": {}}, metadata=metadata)
    if kind == Format.TORCHSCRIPT:
        return Stored(path, {"": torchscript.load(path)}, {"": {}}, script=True)
    return of(path, checkpoint.load_plain(path, "file", lenient=True))


def of(path: Path, content: Any) -> Stored:
    """What was read from a file, by groups.

    Raises:
        SzilardFileError: it is no mapping with tensors in it, or one of them is not dense.
    """
    groups: dict[str, dict[str, Tensor]] = {}
    others: dict[str, dict[str, Any]] = {}
    unread: list[str] = []
    try:
        _walk(content, "", groups, others, unread, 0)
    except _Twice as twice:
        raise SzilardFileError(
            f"{path} holds two tensors of the name {printable(str(twice))[:200]!r}; save network.state_dict() by itself"
        ) from twice
    found = Stored(path, groups, others, unread[0] if unread else None)
    if not groups and content != {}:
        found.refuse()
    for tensors in groups.values():
        for name, value in tensors.items():
            _check_dense(path, name, value)
    return found


class _Twice(Exception):
    """Two groups of one name, as in ``{"a": {"b": ...}, "a.b": ...}``, hold a tensor of the same name."""


def joined(label: str, name: str) -> str:
    """The name of a tensor with that of its group before it."""
    return f"{label}.{name}" if label else name


def listed(names: list[str]) -> str:
    """Some names, for a sentence."""
    shown = ", ".join(printable(name)[:80] for name in names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _check_dense(path: Path, name: str, value: Tensor) -> None:
    if value.is_nested or value.layout != torch.strided or value.is_quantized or value.is_meta:
        raise SzilardFileError(
            f"{path} holds {printable(name)[:80]!r} as a sparse, quantized or meta tensor; make it dense"
        )


def _walk(
    value: Any,
    label: str,
    groups: dict[str, dict[str, Tensor]],
    others: dict[str, dict[str, Any]],
    unread: list[str],
    depth: int,
) -> None:
    if isinstance(value, Unread):
        unread.append(value.name)
    if isinstance(value, list | tuple) and len(value) <= _MOST_ITEMS:
        value = {str(number): item for number, item in enumerate(value)}
    if not isinstance(value, dict) or depth > _MOST_DEPTH:
        return
    inside: list[tuple[str, Any]] = []
    for name, item in value.items():
        if not isinstance(name, str) or len(name) > _MOST_LETTERS:
            continue
        if isinstance(item, Tensor):
            tensors = groups.setdefault(label, {})
            if name in tensors:
                raise _Twice(joined(label, name))
            tensors[name] = item
        else:
            others.setdefault(label, {})[name] = item
            inside.append((name, item))
    for name, item in inside:
        _walk(item, joined(label, name), groups, others, unread, depth + 1)
