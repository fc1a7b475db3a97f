"""Everything a resumed run needs, in one file that is never half written."""

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
_KINDS = ("checkpoint", "network")
_ODD = (
    ArithmeticError, AssertionError, AttributeError, LookupError, NotImplementedError, RuntimeError, TypeError,
    ValueError,
)  # fmt: skip


def save(path: Path, kind: str, content: dict[str, Any]) -> None:
    """Write a dict of tensors, numbers, strings and containers of them.

    Args:
        kind: what the file is, "checkpoint" or "network".

    Raises:
        SzilardError: disk full or folder not writable; the previous file stays.
    """
    buffer = io.BytesIO()  # torch's own writer aborts the process on a full disk
    torch.save({"szilard": kind, "format": FORMAT, **content}, buffer)
    atomic.write(path, buffer.getvalue())


def load(path: Path, kind: str) -> dict[str, Any]:
    """Read what :func:`save` wrote, onto the CPU and without running anything in the file.

    Raises:
        SzilardFileError: not there, cut short, not of this kind, or of a later version.
    """
    content = load_plain(path, kind)
    found = content.get("szilard") if isinstance(content, dict) else None
    if found != kind:
        what = f"is a {found}, not a {kind}" if found in _KINDS else f"is no {kind} of szilard"
        raise SzilardFileError(f"{path} {what}; name a file that szilard fit wrote")
    version = content.get("format")
    if type(version) is not int or version < 1:
        raise SzilardFileError(f"{path} does not say its format; name a file that szilard fit wrote")
    if version > FORMAT:
        raise SzilardFileError(f"{path} has a format of a later szilard; update szilard to read it")
    return content


def load_plain(path: Path, kind: str, *, lenient: bool = False) -> Any:
    """Whatever ``torch.save`` wrote, as long as it is dense tensors and plain containers.

    Nothing in the file is run, and memory is bounded by its size; see :mod:`szilard.model.torch_file`.

    Args:
        lenient: give other objects as :class:`szilard.model.torch_file.Unread`, instead of refusing the file.

    Raises:
        SzilardFileError: not there, cut short, not of torch, or a pickle that would have to run code.
    """
    if not path.is_file():
        raise SzilardFileError(f"there is no {kind} {path}; name a file that exists")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SzilardFileError(
            f"{path} cannot be read ({error.strerror or error}); check the file"
        ) from error
    wrote = "; name a file that szilard or torch.save(network.state_dict(), ...) wrote"
    try:
        return torch_file.loads(data, lenient=lenient)
    except torch_file.Objects as error:
        raise SzilardFileError(
            f"{path} is no {kind}, or holds Python objects, which are not loaded because they can run code "
            f"({printable(str(error))[:80]}){wrote}"
        ) from error
    except torch_file.Damaged as error:
        if torch_file.is_archive(data):
            advice = (
                "remove it and run again to start afresh" if kind == "checkpoint" else "get or make it again"
            )
            raise SzilardFileError(f"the {kind} {path} is cut short or damaged; {advice}") from error
        what = "file of weights" if kind == "file" else kind
        raise SzilardFileError(f"{path} is no {what}{wrote}") from error


@contextlib.contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Around the use of what was read: content that does not fit is told as the file's fault.

    Raises:
        SzilardFileError: instead of what Python raises for a missing entry or one of the wrong type.
    """
    try:
        yield
    except SzilardError:
        raise
    except _ODD as error:
        advice = "remove it and run again to start afresh" if kind == "checkpoint" else "get or make it again"
        raise SzilardFileError(
            f"the {kind} {path} holds something else than szilard writes there ({type(error).__name__}); {advice}"
        ) from error


def check_belongs(path: Path, found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Compare what a checkpoint was made with to what now wants to go on from it.

    Args:
        found, expected: the same keys, with plain values.

    Raises:
        SzilardError: for the first difference.
    """
    for key, value in expected.items():
        if found.get(key) != value:
            told = printable(str(found.get(key))[:200])
            raise SzilardError(
                f"the checkpoint {path} is of another run: its {key} is {told} and not {value}; "
                "go on with the settings it was started with, or start anew with overwrite"
            )


def shapes(state: dict[str, Any]) -> dict[str, list[int]]:
    """Shape of every tensor of a state dict."""
    return {name: list(value.shape) for name, value in state.items() if isinstance(value, torch.Tensor)}


def check_shapes(path: Path, found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Compare the tensors of two state dicts by name and shape.

    Raises:
        SzilardError: for the first that is missing, unknown or of another shape.
    """
    have, want = shapes(found), shapes(expected)
    for name in [*want, *have]:
        if have.get(name) != want.get(name):
            theirs = f"has shape {have[name]}" if name in have else "is missing"
            ours = f"has shape {want[name]}" if name in want else "has no such tensor"
            raise SzilardFileError(
                f"{path} is of another network: in the file {printable(name)[:200]} {theirs}, "
                f"in this network it {ours}; name the network it was made with"
            )


def to_device(value: Any, device: torch.device) -> Any:
    """The same containers with their tensors on ``device``."""
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {key: to_device(item, device) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(to_device(item, device) for item in value)
    return value
