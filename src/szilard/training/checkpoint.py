"""Everything a resumed run needs, in one file that is never half written."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from szilard import atomic
from szilard.errors import SzilardError

FORMAT = 1


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
        SzilardError: not there, cut short, not of this kind, or of a later version.
    """
    content = load_plain(path, kind, check=True)
    found = content.get("szilard") if isinstance(content, dict) else None
    if found != kind:
        what = f"is a {found}, not a {kind}" if found else f"is no {kind} of szilard"
        raise SzilardError(f"{path} {what}; name a file that szilard fit wrote")
    if content["format"] > FORMAT:
        raise SzilardError(
            f"{path} has format {content['format']}, of a later szilard; update szilard to read it"
        )
    return content


def load_plain(path: Path, kind: str, *, check: bool = False) -> Any:
    """Whatever ``torch.save`` wrote, as long as it is tensors and plain containers.

    Args:
        check: compare the sums that torch writes beside each tensor and does not look at itself.

    Raises:
        SzilardError: not there, cut short, not of torch, or a pickle that would have to run code.
    """
    if not path.is_file():
        raise SzilardError(f"there is no {kind} {path}; name a file that exists")
    try:
        content = path.read_bytes()  # apart, so that torch's own OSErrors are not taken for the disk's
    except OSError as error:
        raise SzilardError(f"{path} cannot be read ({error.strerror or error}); check the file") from error
    archive = content.startswith(b"PK\x03\x04")
    try:
        if check and archive and zipfile.ZipFile(io.BytesIO(content)).testzip() is not None:
            raise zipfile.BadZipFile
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (
        Exception
    ) as error:  # RuntimeError, EOFError, OSError, KeyError, ..., depending on where torch stops
        if archive and not isinstance(error, pickle.UnpicklingError):
            raise SzilardError(
                f"the {kind} {path} is cut short or damaged; remove it and run again to start afresh"
            ) from error
        objects = isinstance(error, pickle.UnpicklingError) and "Weights only load failed" in str(error)
        raise SzilardError(
            f"{path} is no {kind}"
            + (", or holds Python objects, which are not loaded because they can run code" if objects else "")
            + "; name a file that szilard or torch.save(network.state_dict(), ...) wrote"
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
            raise SzilardError(
                f"the checkpoint {path} is of another run: its {key} is {found.get(key)} and not {value}; "
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
            raise SzilardError(
                f"{path} is of another network: in the file {name} {theirs}, in this network it {ours}; "
                "name the network it was made with"
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
