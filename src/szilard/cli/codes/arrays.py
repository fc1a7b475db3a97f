"""Read matrices and measurements from ``.npy`` and ``.npz`` files of numbers, and write codes as ``.npz``."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from szilard import atomic, bounded
from szilard.data import limits
from szilard.data.npy import NotPlain, read_header, read_values
from szilard.data.npz import Archive
from szilard.errors import SzilardError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

_ADVICE = "give a .npy file made with numpy.save, or a .npz file with one array"


def read(path: Path) -> np.ndarray:
    """The array of a file, of real numbers.

    Args:
        path: ``.npy``, or ``.npz`` with one array.

    Raises:
        SzilardError: missing, damaged, too large, without or with several arrays, or not of real numbers.
    """
    suffix = path.suffix.lower()
    if suffix == ".npz":
        array = _only(path)
    elif suffix == ".npy":
        array = _npy(path)
    else:
        raise SzilardError(f"{path} has an ending of no known format; {_ADVICE}")
    if array.dtype.kind == "c":
        raise SzilardError(f"{path} holds complex numbers; stack their real and imaginary parts")
    if array.dtype.kind not in "iubf":
        raise SzilardError(f"{path} holds no numbers; {_ADVICE}")
    return array


def _npy(path: Path) -> np.ndarray:
    file, size = bounded.open_file(path, _ADVICE)
    with file:
        try:
            header = read_header(file)
            limits.check(path, header.memory, size)
            return read_values(file, header)
        except NotPlain as error:
            raise SzilardError(f"{path} {error}; {_ADVICE}") from error


def _only(path: Path) -> np.ndarray:
    with Archive(path) as archive:
        names = list(archive.headers)
        if len(names) != 1:
            found = ", ".join(names[:5]) or "none"
            raise SzilardError(f"{path} has {len(names)} arrays ({found}); {_ADVICE}")
        return archive.read(names[0])


def write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """An ``.npz`` file, which appears when it is complete."""
    import numpy as np

    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    atomic.write(path, buffer.getvalue(), follow=True)
