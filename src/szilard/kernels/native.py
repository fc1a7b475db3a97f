"""The C++ kernels: one shared library with a plain C ABI (``csrc/core/szilard.h``), called through ctypes.

The library is loaded at the first call. A call passes ``tensor.data_ptr()`` for an array and None for an array that is
not needed. The caller must keep the tensors alive, contiguous and of the right type.
"""

from __future__ import annotations

import ctypes
import functools
import os
from importlib import resources
from pathlib import Path

from szilard.errors import SzilardError
from szilard.kernels.functions import FUNCTIONS
from szilard.kernels.functions.types import I32, Geometry, Index, Key

__all__ = ["FUNCTIONS", "Geometry", "Index", "Key", "available", "check", "isa", "library", "why_not"]

ABI_VERSION = int(resources.files("szilard.kernels").joinpath("abi_version.txt").read_text())
"""Version of the C ABI. CMake reads the same file, and szilard_abi_version() of the library returns it."""
VARIABLE = "SZILARD_LIBRARY"  # names another build of the library
REINSTALL = "install a C++17 compiler (GCC or Clang) and reinstall szilard"

BAD_STREAM = 6
NO_ROOM = 7

_STATUS = {
    1: "the row pointers of the support do not increase from 0 to its number of entries",
    2: "a column of the support is out of range, or the columns of a row are not in ascending order",
    3: "the transposed index is not that of the support",
    4: "the sizes do not match",
    BAD_STREAM: "the coded bytes are damaged",
    NO_ROOM: "an array is too short for the result",
}


def available() -> bool:
    """Whether the kernels can be called.

    Raises:
        SzilardError: if ``SZILARD_LIBRARY`` names a file that cannot be used.
    """
    return why_not() is None


def why_not() -> str | None:
    """Why there are no kernels, as a clause of a sentence; None if there are kernels.

    Raises:
        SzilardError: if ``SZILARD_LIBRARY`` names a file that cannot be used.
    """
    found = _found()
    return found if isinstance(found, str) else None


def library() -> ctypes.CDLL:
    """The library, with the argument types of its functions declared.

    Raises:
        SzilardError: if there is no library, or none of this version.
    """
    found = _found()
    if isinstance(found, str):
        raise SzilardError(f"there are no C++ kernels: {found}; {REINSTALL}")
    return found


def isa() -> str:
    """The instruction set in use: ``avx512``, ``avx2``, ``neon`` or ``baseline``."""
    return library().szilard_isa().decode()


def check(status: int, what: str) -> None:
    """Turn the status of a call into an exception.

    Args:
        status: return value of the function; 0 is success.
        what: the operation, as the subject of the sentence (``"sparse_linear"``).

    Raises:
        SzilardError: if the index or the sizes are wrong.
        MemoryError: if there was no memory for the kernel's scratch space.
    """
    if status == 0:
        return
    if status == 5:
        raise MemoryError(f"{what}: not enough memory for the C++ kernel")
    clause = _STATUS.get(status, f"the C++ kernel returned the unknown status {status}")
    advice = "use the index of a szilard.sparse.Support, which keeps it consistent"
    if status == NO_ROOM:
        advice = "this is a bug in szilard, please report it"
    raise SzilardError(f"{what}: {clause}; {advice}")


def _found() -> ctypes.CDLL | str:
    named = os.environ.get(VARIABLE)
    found = _load(named or None)
    if named and isinstance(found, str):
        raise SzilardError(
            f"{VARIABLE}={named} cannot be used: {found}; name a built library or unset the variable"
        )
    return found


@functools.cache
def _load(named: str | None) -> ctypes.CDLL | str:
    path = Path(named).absolute() if named else _packaged()
    if not path.is_file():
        return "there is no such file" if named else "they were not built when szilard was installed"
    try:
        loaded = ctypes.CDLL(str(path))
        loaded.szilard_abi_version.restype = I32
        version = loaded.szilard_abi_version()
        if version != ABI_VERSION:
            return f"the library has version {version} of the interface, and this szilard needs {ABI_VERSION}"
        loaded.szilard_isa.restype = ctypes.c_char_p
        loaded.szilard_contexts.restype = I32
        for name, arguments in FUNCTIONS.items():
            getattr(loaded, name).argtypes = arguments
    except OSError as error:
        return f"the library cannot be loaded ({error})"
    except AttributeError as error:  # a symbol is missing
        return f"it is not a library of szilard, or has another version ({error})"
    return loaded


def _packaged() -> Path:
    # Not next to __file__: in an editable install the sources are here and the library is in site-packages.
    return Path(str(resources.files("szilard").joinpath("_kernels.so")))
