"""npz archives of plain arrays; a pickle inside is refused."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from szilard.errors import SzilardError


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an archive, never unpickling anything.

    Raises:
        SzilardError: missing, cut short, no archive, or an array of Python objects.
    """
    if not path.is_file():
        raise SzilardError(f"{path} does not exist; name an .npz file made with numpy.savez")
    key = "?"
    try:
        with zipfile.ZipFile(path):  # numpy would take a bare .npy, or offer to unpickle anything else
            pass
        with np.load(path, allow_pickle=False) as archive:
            arrays = {}
            for key in archive.files:
                if isinstance(array := archive[key], np.ndarray):
                    arrays[key] = array
            return arrays
    except Exception as error:  # a damaged archive can raise almost anything
        if isinstance(error, ValueError) and "pickle" in str(error):
            raise SzilardError(
                f"array {key} of {path} holds Python objects, which are not loaded as they can run code; "
                "save it as plain numbers or strings"
            ) from error
        raise SzilardError(
            f"{path} is cut short, damaged or no npz archive; write it again with numpy.savez"
        ) from error


def to_tensor(array: np.ndarray, what: str) -> Tensor:
    """A tensor that owns its memory: uint8, int64 (booleans too), float32 or float64."""
    if array.dtype == np.uint8:
        return torch.from_numpy(np.array(array))
    if array.dtype.kind in "iub":
        return torch.from_numpy(array.astype(np.int64))
    if array.dtype.kind == "f":
        return torch.from_numpy(array.astype(np.float64 if array.dtype.itemsize >= 8 else np.float32))
    raise SzilardError(f"{what} holds {array.dtype}, not numbers; save it as numbers")
