"""Checkpoints: everything that a resumed run needs, in one file that is written atomically."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from szilard import atomic
from szilard.errors import SzilardError
from szilard.file.error import SzilardFileError, printable
from szilard.model import torch_file

FORMAT = 1
_KINDS = ("checkpoint", "network", "prior")
_ODD = (
    ArithmeticError, AssertionError, AttributeError, LookupError, NotImplementedError, RuntimeError, TypeError,
    ValueError,
)  # fmt: skip


def save(path: Path, kind: str, content: dict[str, Any]) -> None:
    """Write a dict of tensors, numbers, strings and containers of them.

    Args:
        kind: "checkpoint", "network" or "prior".

    Raises:
        SzilardError: disk full or folder not writable; the previous file is kept.
    """
    atomic.write(path, written(kind, content))


def written(kind: str, content: dict[str, Any]) -> bytes:
    """The bytes of a file of :func:`save`."""
    buffer = io.BytesIO()  # torch's own writer aborts the process on a full disk
    torch.save({"szilard": kind, "format": FORMAT, **content}, buffer)
    return buffer.getvalue()


def load(path: Path, kind: str) -> dict[str, Any]:
    """Read a file of :func:`save` onto the CPU, without running code from the file.

    Raises:
        SzilardFileError: missing, truncated, not of this kind, or of a later version.
    """
    content = load_plain(path, kind)
    found = content.get("szilard") if isinstance(content, dict) else None
    if found != kind:
        what = f"is a {found}, not a {kind}" if found in _KINDS else f"is not a {kind} of szilard"
        raise SzilardFileError(f"{path} {what}; give a file that szilard fit wrote")
    version = content.get("format")
    if type(version) is not int or version < 1:
        raise SzilardFileError(f"{path} has no valid format number; give a file that szilard fit wrote")
    if version > FORMAT:
        raise SzilardFileError(
            f"{path} has the format of a later version of szilard; update szilard to read it"
        )
    return content


def load_plain(path: Path, kind: str, *, lenient: bool = False) -> Any:
    """Read dense tensors and plain containers from a file of ``torch.save``.

    No code from the file is run, and memory is bounded by its size; see :mod:`szilard.model.torch_file`.

    Args:
        lenient: return other objects as :class:`szilard.model.torch_file.Unread` instead of refusing the file.

    Raises:
        SzilardFileError: missing, truncated, not of torch, or a pickle that would run code.
    """
    if not path.is_file():
        raise SzilardFileError(f"there is no {kind} {path}; give a file that exists")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SzilardFileError(
            f"{path} cannot be read ({error.strerror or error}); check the file"
        ) from error
    wrote = "; give a file that szilard or torch.save(network.state_dict(), ...) wrote"
    try:
        return torch_file.loads(data, lenient=lenient)
    except torch_file.Objects as error:
        raise SzilardFileError(
            f"{path} is not a {kind}, or has Python objects, which are not loaded because they can run code "
            f"({printable(str(error))[:80]}){wrote}"
        ) from error
    except torch_file.Damaged as error:
        if torch_file.is_archive(data):
            raise SzilardFileError(f"the {kind} {path} is truncated or damaged; {_advice(kind)}") from error
        what = "file of weights" if kind == "file" else kind
        raise SzilardFileError(f"{path} is not a {what}{wrote}") from error


@contextlib.contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """A context in which the content of a file is used: reports invalid content as an error of the file.

    Raises:
        SzilardFileError: instead of Python's exceptions for missing entries and wrong types.
    """
    try:
        yield
    except SzilardError:
        raise
    except _ODD as error:
        raise SzilardFileError(
            f"the {kind} {path} has content that szilard does not write ({type(error).__name__}); {_advice(kind)}"
        ) from error


def _advice(kind: str) -> str:
    return "remove it and run again to start over" if kind == "checkpoint" else "download or make it again"


def check_belongs(path: Path, found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Compare the settings in a checkpoint with those of the run that resumes it.

    Args:
        found, expected: settings with the same keys and plain values.

    Raises:
        SzilardError: the first difference.
    """
    for key, value in expected.items():
        if found.get(key) != value:
            shown = printable(str(found.get(key))[:200])
            raise SzilardError(
                f"the checkpoint {path} is of another run: its {key} is {shown} and not {value}; "
                "resume with the settings of that run, or start over with overwrite"
            )


def shapes(state: dict[str, Any]) -> dict[str, list[int]]:
    """Shape of every tensor in a state dict."""
    return {name: list(value.shape) for name, value in state.items() if isinstance(value, torch.Tensor)}


def check_shapes(path: Path, found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Compare the tensors of two state dicts by name and shape.

    Raises:
        SzilardError: the first tensor that is missing, unknown or of another shape.
    """
    have, want = shapes(found), shapes(expected)
    for name in [*want, *have]:
        if have.get(name) != want.get(name):
            theirs = f"has shape {have[name]}" if name in have else "is missing"
            ours = f"has shape {want[name]}" if name in want else "has no such tensor"
            raise SzilardFileError(
                f"{path} is of another network: in the file {printable(name)[:200]} {theirs}, "
                f"in this network it {ours}; give the network that the file was made with"
            )


def to_device(value: Any, device: torch.device) -> Any:
    """Copy nested containers with their tensors on ``device``."""
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {key: to_device(item, device) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(to_device(item, device) for item in value)
    return value
