"""Weights in files of other programs: a bare state dict, a checkpoint, or names with prefixes of a wrapper or trainer.

A group is a mapping in the file that contains tensors, such as ``state_dict`` or ``model.ema``; the file itself has an
empty name. Group, prefix and name are joined by dots: a file of ``{"state_dict": {"model.fc.weight": ...}}`` has one
tensor ``state_dict.model.fc.weight``. The part before the network's own names is the prefix of its weights.
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

_MOST_DEPTH = 8  # of nested groups
_MOST_ITEMS = 1024  # of a list, whose groups are named by their indices
_MOST_LETTERS = 1024  # of a name; names in .szd files are not longer
_TRAINER = re.compile(r"optim|sched|scaler|callback|loops|rng|random|hyper|config", re.IGNORECASE)
_SHOWN = 3


@dataclass(frozen=True, eq=False)
class Stored:
    """The named content of a file.

    Attributes:
        path: the file, for messages.
        groups: tensors by group and name.
        others: other values by group and name.
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
        """Only the tensors of one group, or of one prefix in a group.

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
        """Whether there is a tensor with this name, in any group and under any prefix."""
        return any(
            f".{joined(label, own)}".endswith(f".{name}")
            for label, tensors in self.groups.items()
            for own in tensors
        )

    def labels(self) -> list[str]:
        """Names of the groups that contain tensors."""
        return [label or "(the file itself)" for label, tensors in self.groups.items() if tensors]

    def group(self, key: str | None) -> tuple[str, dict[str, Tensor]]:
        """The group of tensors that must be the weights, if no network with their names is given; names keep prefixes.

        Raises:
            SzilardFileError: there are no tensors, or several groups and no ``key``.
        """
        found = self.only(key)
        groups = {label: tensors for label, tensors in found.groups.items() if tensors}
        if key is None:
            groups = {
                label: tensors for label, tensors in groups.items() if not _TRAINER.search(label)
            } or groups
        if len(groups) > 1:  # leave out groups of counters
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
                f"{self.path} has several groups of tensors ({known}); choose one with --key (in Python: key=)"
            )
        label, tensors = next(iter(groups.items()))
        for name, value in self.others.get(label, {}).items():
            if isinstance(value, Unread) and value.name.startswith("torch._"):
                raise SzilardFileError(
                    f"{self.path} has {printable(name)[:200]!r} as a sparse, quantized or other special tensor "
                    f"({printable(value.name)[:80]}); make it dense"
                )
        return label, tensors

    def refuse(self) -> None:
        """Report why a file has no weights.

        Raises:
            SzilardFileError: always.
        """
        if self.unread is not None:
            raise SzilardFileError(
                f"{self.path} has a pickled object ({printable(self.unread)[:80]}) and no state dict of tensors, and "
                "objects are not loaded because that can run code; save network.state_dict() instead"
            )
        if self.script:
            raise SzilardFileError(
                f"{self.path} has no state dict of tensors: it is a TorchScript archive whose weights were frozen "
                "into its code; save network.state_dict() of the network that it was made from"
            )
        raise SzilardFileError(f"{self.path} has no state dict of tensors; save network.state_dict()")


def read(path: Path) -> Stored:
    """Read a ``.szd`` file, a file of ``torch.save``, a safetensors file or a TorchScript archive.

    No code from the file is run.

    Raises:
        SzilardFileError: missing, damaged, or in another format; the message says what to do.
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
    """Arrange the content of a file in groups.

    Raises:
        SzilardFileError: it is not a mapping with tensors, or a tensor is not dense.
    """
    groups: dict[str, dict[str, Tensor]] = {}
    others: dict[str, dict[str, Any]] = {}
    unread: list[str] = []
    try:
        _walk(content, "", groups, others, unread, 0)
    except _Twice as twice:
        raise SzilardFileError(
            f"{path} has two tensors with the name {printable(str(twice))[:200]!r}; save network.state_dict() alone"
        ) from twice
    found = Stored(path, groups, others, unread[0] if unread else None)
    if not groups and content != {}:
        found.refuse()
    for tensors in groups.values():
        for name, value in tensors.items():
            _check_dense(path, name, value)
    return found


class _Twice(Exception):
    """Two groups with the same name, as in ``{"a": {"b": ...}, "a.b": ...}``, have a tensor with the same name."""


def joined(label: str, name: str) -> str:
    """The name of a tensor with its group as prefix."""
    return f"{label}.{name}" if label else name


def listed(names: list[str]) -> str:
    """The first few names, for a message."""
    shown = ", ".join(printable(name)[:80] for name in names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _check_dense(path: Path, name: str, value: Tensor) -> None:
    if value.is_nested or value.layout != torch.strided or value.is_quantized or value.is_meta:
        raise SzilardFileError(
            f"{path} has {printable(name)[:80]!r} as a sparse, quantized or meta tensor; make it dense"
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
