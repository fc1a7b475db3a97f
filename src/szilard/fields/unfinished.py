"""A store that is being written: in a folder beside its place, with what a later call needs to continue it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from szilard import atomic, flock
from szilard.errors import SzilardError

_STATE, _LOCK, _STORE = "settings.json", "lock", "store"
_FORMAT = 1


class Unfinished:
    """The folder ``NAME.unfinished``, of which ``store`` becomes ``NAME`` when all is there.

    Attributes:
        target: the final folder.
        folder: of the unfinished write.
        store: the store in it.
        state: what was saved by the call that is continued; None: this call starts.

    Args:
        path: the final folder.
        resume: continue an earlier write.
        overwrite: replace a store that is there, and forget an earlier write.
    """

    def __init__(self, path: Path, *, resume: bool, overwrite: bool) -> None:
        if resume and overwrite:
            raise SzilardError("a write either resumes an earlier one or overwrites it, not both")
        self.target = path
        self.folder = path.with_name(f"{path.name}.unfinished")
        self.store = self.folder / _STORE
        there = os.path.lexists(path)
        if there and not overwrite:
            raise SzilardError(
                f"{path} exists"
                + (
                    " and is complete, so that there is nothing to resume"
                    if resume
                    else "; name another folder, or overwrite it"
                )
            )
        if there and not _is_store(path):
            raise SzilardError(
                f"{path} exists and is not a zarr store, so it is not overwritten; name another folder"
            )
        if self.folder.exists() and not (self.folder / _LOCK).exists() and any(self.folder.iterdir()):
            raise SzilardError(
                f"{self.folder} is in the way, and szilard did not write it; move it, or name another folder"
            )
        if (self.folder / _STATE).exists() and not (resume or overwrite):
            raise SzilardError(
                f"{self.folder} is an earlier write that did not finish; resume it, or overwrite it to start anew"
            )
        self.state: dict[str, Any] | None = self._read() if resume else None

    def _read(self) -> dict[str, Any] | None:
        path = self.folder / _STATE
        try:
            state = json.loads(path.read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise SzilardError(f"{path} is damaged; overwrite the unfinished store to start anew") from error
        if not isinstance(state, dict) or state.get("format") != _FORMAT:
            raise SzilardError(
                f"{path} is damaged or of another version of szilard; overwrite the unfinished store to start anew"
            )
        return state

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """The folder as that of this process alone; a call that starts anew finds it empty."""
        atomic.make_folder(self.folder)
        try:
            handle = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise atomic.refusal(self.folder / _LOCK, error) from error
        try:
            if flock.take(handle) is False:
                raise SzilardError(
                    f"another process is writing {self.folder}; wait for it, or name another folder"
                )
            if self.state is None:
                for entry in list(self.folder.iterdir()):
                    if entry.name != _LOCK:
                        _remove(entry)
            yield
        finally:
            os.close(handle)

    def save(self, settings: dict[str, Any], codecs: dict[str, Any]) -> None:
        """Remember the settings and the fitted codecs: from now on, a later call can continue."""
        self.state = {"format": _FORMAT, "settings": settings, "codecs": codecs}
        atomic.write(self.folder / _STATE, json.dumps(self.state).encode())

    def codecs(self, settings: dict[str, Any]) -> dict[str, Any] | None:
        """The codecs of the call that is continued; raises if it had other settings or another source."""
        if self.state is None:
            return None
        before = self.state.get("settings")
        codecs = self.state.get("codecs")
        if not isinstance(before, dict) or not isinstance(codecs, dict):
            raise SzilardError(
                f"{self.folder / _STATE} is damaged; overwrite the unfinished store to start anew"
            )
        for key, value in settings.items():
            if before.get(key) != value:
                what = "another dataset" if key == "source" else f"other settings ({key})"
                raise SzilardError(
                    f"{self.folder} was begun with {what}; resume it with the same, or overwrite it to start anew"
                )
        return codecs

    def finish(self) -> None:
        """Give the store its name; one that it replaces is removed after that."""
        old = self.target.with_name(f"{self.target.name}.replaced")
        try:
            if os.path.lexists(old):
                _remove(old)
            if os.path.lexists(self.target):
                os.replace(self.target, old)
            os.replace(self.store, self.target)
            atomic.sync_folder(self.target.parent)
        except OSError as error:
            raise atomic.refusal(self.target, error) from error
        _remove(self.folder)
        if os.path.lexists(old):
            _remove(old)


def source_of(dataset: xr.Dataset, names: list[str]) -> str:
    """A hash that tells one source from another without reading it all.

    Names, types, shapes, attributes and coordinates, and three rows of each variable with a bound.
    """
    found = hashlib.sha256(repr(sorted((str(k), str(v)) for k, v in dataset.attrs.items())).encode())
    for key in sorted(map(str, dataset.variables)):
        variable = dataset.variables[key]
        found.update(repr((key, variable.dims, variable.shape, str(variable.dtype))).encode())
        found.update(repr(sorted((str(k), str(v)) for k, v in variable.attrs.items())).encode())
    for key in sorted(map(str, dataset.indexes)):
        found.update(np.asarray(dataset.indexes[key]).astype(str).tobytes())
    for name in names:
        variable = dataset.variables[name]
        for share in (0.0, 0.5, 1.0):
            place = {
                dim: int(share * (size - 1))
                for dim, size in zip(variable.dims[:-1], variable.shape[:-1], strict=True)
            }
            found.update(np.ascontiguousarray(variable.isel(place).values).tobytes())
    return found.hexdigest()


def _is_store(path: Path) -> bool:
    return path.is_dir() and any(
        (path / name).is_file() for name in ("zarr.json", ".zgroup", ".zmetadata", ".zarray")
    )


def _remove(path: Path) -> None:
    try:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    except OSError as error:
        raise SzilardError(
            f"{path} cannot be removed ({error.strerror or error}); remove it yourself"
        ) from error
