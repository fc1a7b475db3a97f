"""What a file says of the solver that it holds, read from a file that nobody trusts."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from szilard.errors import SzilardError, printable
from szilard.file import state as file_state
from szilard.solve.fingerprint import PROBES

ENTRY = "szilard.solve"  # of the file's metadata
VERSION = 1
MOST_LAYERS = 1 << 20
_DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class Kept:
    """The metadata of a kept solver.

    Attributes:
        algorithm: its name.
        layers: how many.
        options: of its constructor; lists stand for tuples.
        dtype: of its parameters, "float32" or "float64".
        matrix_dtype: of the matrix that it was made with.
        matrix: the fingerprint of that (:mod:`szilard.solve.fingerprint`).
        training: what it was trained on.
    """

    algorithm: str
    layers: int
    options: dict[str, Any]
    dtype: str
    matrix_dtype: str
    matrix: dict[str, Any]
    training: dict[str, Any]

    def meta(self) -> dict[str, Any]:
        """The file's metadata."""
        return {ENTRY: {"version": VERSION, **asdict(self)}}


def read(path: str | Path, max_bytes: int) -> tuple[Kept, dict[str, Tensor]]:
    """A kept solver's metadata and tensors, all finite.

    Raises:
        SzilardError: if the file is not that of a solver, or does not follow the rules.
    """
    shown = printable(str(path))
    state, meta = file_state.with_meta(path, max_bytes=max_bytes)
    entry = meta.get(ENTRY)
    if not isinstance(entry, dict):
        raise SzilardError(f"{shown} does not hold a solver; name a file made by szilard.solve.save")
    version = entry.get("version")
    if isinstance(version, int) and version > VERSION:
        raise SzilardError(f"{shown} was written by a newer version; update this library")
    if broken := _broken(entry):
        raise SzilardError(f"the {broken} of the solver in {shown} is damaged; keep the solver again")
    for name, value in state.items():
        if value.dtype not in (torch.float32, torch.float64):
            raise SzilardError(
                f"{name} of {shown} is {value.dtype}, not float32 or float64; keep the solver again"
            )
        if not torch.isfinite(value).all():
            raise SzilardError(f"{name} of {shown} is not finite; keep the solver again")
    stored = state.get("A")
    if stored is not None and list(stored.shape) != entry["matrix"]["shape"]:
        raise SzilardError(f"the matrix in {shown} is not the one of its solver; keep the solver again")
    fields = {name: entry[name] for name in Kept.__dataclass_fields__}
    return Kept(**fields), dict(state)


def _broken(entry: dict[str, Any]) -> str:
    """The first part that breaks a rule; empty if there is none."""
    matrix = entry.get("matrix")
    rules = {
        "version": entry.get("version") == VERSION,
        "algorithm": isinstance(entry.get("algorithm"), str),
        "layers": _whole(entry.get("layers"), 0, MOST_LAYERS),
        "options": _plain_options(entry.get("options")),
        "dtype": entry.get("dtype") in _DTYPES,
        "matrix_dtype": entry.get("matrix_dtype") in _DTYPES,
        "matrix": isinstance(matrix, dict) and _fingerprint(matrix),
        "training": isinstance(entry.get("training"), dict),
    }
    return next((name for name, good in rules.items() if not good), "")


def _whole(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _plain_options(options: Any) -> bool:
    if not isinstance(options, dict):
        return False
    parts = [part for value in options.values() for part in (value if isinstance(value, list) else [value])]
    return all(part is None or isinstance(part, bool | int | float | str) for part in parts)


def _fingerprint(matrix: dict[str, Any]) -> bool:
    shape, probes, found = matrix.get("shape"), matrix.get("probes"), matrix.get("hash")
    return (
        isinstance(shape, list)
        and len(shape) == 2
        and all(_whole(size, 1, 1 << 31) for size in shape)
        and isinstance(probes, list)
        and len(probes) == PROBES
        and all(_number(one) for one in probes)
        and (found is None or isinstance(found, str))
    )
