"""The C++ kernels: one shared library with a plain C ABI (``csrc/szilard.h``), reached through ctypes.

Nothing is loaded before the first call. A call passes ``tensor.data_ptr()`` for an array and None for an array that is
not wanted; whoever calls keeps the tensors alive, contiguous and of the right type.
"""

from __future__ import annotations

import ctypes
import functools
import os
from importlib import resources
from pathlib import Path

from szilard.errors import SzilardError

ABI_VERSION = 4  # of szilard.h; the library answers szilard_abi_version()
VARIABLE = "SZILARD_LIBRARY"  # names another build of the library
REINSTALL = "install a C++17 compiler (GCC or Clang) and reinstall szilard"

_I32 = ctypes.c_int32
_I64 = ctypes.c_int64
_INT = ctypes.c_int
_FLOAT = ctypes.c_float
_ARRAY = ctypes.c_void_p


class Index(ctypes.Structure):
    """``szilard_index``: a support as sizes and addresses of int32 arrays; the transpose's may be None."""

    _fields_ = (
        *((name, _I32) for name in ("rows", "cols", "nnz")),
        *((name, _ARRAY) for name in ("crow", "col", "t_crow", "t_col", "t_perm")),
    )


class Key(ctypes.Structure):
    """``szilard_key``: which normal numbers."""

    _fields_ = (("seed", ctypes.c_uint64), ("draw", ctypes.c_uint64))


class Geometry(ctypes.Structure):
    """``szilard_geometry``: a 2-d convolution or pooling."""

    _fields_ = tuple(
        (name, _I32)
        for name in (
            *("batch", "channels", "height", "width", "out_channels", "out_height", "out_width"),
            *("kernel_h", "kernel_w", "stride_h", "stride_w", "pad_h", "pad_w", "dilation_h", "dilation_w"),
            "groups",
        )
    )


_INDEX = ctypes.POINTER(Index)
_GEOMETRY = ctypes.POINTER(Geometry)
_CONV = (_INDEX, _GEOMETRY)

_OUT = (_ARRAY, _I64)  # an array that is written, and how many elements it has

#: Arguments of the functions that answer a status. Structures go by ``ctypes.byref``, a Key by value; an array that is
#: written is followed by its number of elements.
FUNCTIONS: dict[str, tuple[type, ...]] = {
    "szilard_use_isa": (ctypes.c_char_p,),
    "szilard_normal": (Key, _I64, *_OUT, _INT),
    "szilard_linear": (_INDEX, _I32, *[_ARRAY] * 2, *_OUT, _INT),
    "szilard_linear_backward": (_INDEX, _I32, *[_ARRAY] * 3, *_OUT * 2, _INT),
    "szilard_lrt_linear": (_INDEX, _I32, *[_ARRAY] * 4, Key, _INT, *_OUT * 3, _INT),
    "szilard_lrt_linear_backward": (_INDEX, _I32, *[_ARRAY] * 6, _INT, *_OUT * 4, _INT),
    "szilard_conv": (*_CONV, *[_ARRAY] * 2, *_OUT, _INT),
    "szilard_conv_backward": (*_CONV, *[_ARRAY] * 3, *_OUT * 2, _INT),
    "szilard_lrt_conv": (*_CONV, *[_ARRAY] * 3, Key, *_OUT * 3, _INT),
    "szilard_lrt_conv_backward": (*_CONV, *[_ARRAY] * 5, *_OUT * 3, _INT),
    "szilard_batch_norm": (_I32, _I64, *[_ARRAY] * 4, _INT, _FLOAT, *_OUT * 4, _INT),
    "szilard_batch_norm_backward": (_I32, _I64, *[_ARRAY] * 6, _INT, *_OUT * 4, _INT),
    "szilard_divergence": (_I64, *[_ARRAY] * 2, *_OUT),
    "szilard_divergence_backward": (_I64, *[_ARRAY] * 2, _FLOAT, _FLOAT, *_OUT * 2),
    "szilard_max_pool": (_GEOMETRY, _ARRAY, *_OUT * 2, _INT),
    "szilard_max_pool_backward": (_GEOMETRY, *[_ARRAY] * 2, *_OUT, _INT),
    "szilard_rate": (*_OUT, _INT, _I64, _I64, *[_ARRAY] * 3),
    "szilard_encode": (*_OUT * 2, _INT, _I64, _I64, _ARRAY, *_OUT, _ARRAY),
    "szilard_encode_end": (*_OUT * 2, _ARRAY),
    "szilard_decode": (*_OUT * 2, _INT, _I64, _I64, _ARRAY, _I64, *_OUT, _ARRAY),
    "szilard_draw": (_I64, _I32, _ARRAY, _I64, ctypes.c_uint32, *_OUT),
    "szilard_quantise": (*_OUT, _INT, *[_I32] * 4, *_OUT, *[_ARRAY] * 3, *_OUT * 2),
}

BAD_STREAM = 6
NO_ROOM = 7

_STATUS = {
    1: "the row pointers of the support do not rise from 0 to its number of entries",
    2: "a column of the support is out of range, or the columns of a row do not ascend",
    3: "the transposed index does not belong to the support",
    4: "the sizes do not belong together",
    BAD_STREAM: "the coded bytes are damaged",
    NO_ROOM: "an array is too short for the answer",
}


def available() -> bool:
    """Whether the kernels can be called.

    Raises:
        SzilardError: if ``SZILARD_LIBRARY`` names a file that does not serve.
    """
    return why_not() is None


def why_not() -> str | None:
    """Why there are no kernels, as a clause; None if there are.

    Raises:
        SzilardError: if ``SZILARD_LIBRARY`` names a file that does not serve.
    """
    found = _found()
    return found if isinstance(found, str) else None


def library() -> ctypes.CDLL:
    """The library, with the arguments of its functions declared.

    Raises:
        SzilardError: if there is none, or none of this version.
    """
    found = _found()
    if isinstance(found, str):
        raise SzilardError(f"there are no C++ kernels: {found}; {REINSTALL}")
    return found


def isa() -> str:
    """The instruction set that runs: ``avx512``, ``avx2``, ``neon`` or ``baseline``."""
    return library().szilard_isa().decode()


def check(status: int, what: str) -> None:
    """Turn the status of a call into an exception.

    Args:
        status: what the function answered; 0 is success.
        what: the operation, as the subject of the sentence (``"sparse_linear"``).

    Raises:
        SzilardError: if the index or the sizes are wrong.
        MemoryError: if there was no memory for the kernel's own scratch.
    """
    if status == 0:
        return
    if status == 5:
        raise MemoryError(f"{what}: not enough memory for the C++ kernel")
    clause = _STATUS.get(status, f"the C++ kernel answered the unknown status {status}")
    advice = "take the index of a szilard.sparse.Support, which keeps it whole"
    if status == NO_ROOM:
        advice = "this is a fault of szilard, please report it"
    raise SzilardError(f"{what}: {clause}; {advice}")


def _found() -> ctypes.CDLL | str:
    named = os.environ.get(VARIABLE)
    found = _load(named or None)
    if named and isinstance(found, str):
        raise SzilardError(
            f"{VARIABLE}={named} does not serve: {found}; name a built library or unset the variable"
        )
    return found


@functools.cache
def _load(named: str | None) -> ctypes.CDLL | str:
    path = Path(named).absolute() if named else _packaged()
    if not path.is_file():
        return "there is no such file" if named else "they were not built when szilard was installed"
    try:
        loaded = ctypes.CDLL(str(path))
        loaded.szilard_abi_version.restype = _I32
        version = loaded.szilard_abi_version()
        if version != ABI_VERSION:
            return f"the library has version {version} of the interface, and this szilard needs {ABI_VERSION}"
        loaded.szilard_isa.restype = ctypes.c_char_p
        loaded.szilard_contexts.restype = _I32
        for name, arguments in FUNCTIONS.items():
            getattr(loaded, name).argtypes = arguments
    except OSError as error:
        return f"the library cannot be loaded ({error})"
    except AttributeError as error:  # a symbol that is not there
        return f"the library is not szilard's, or of another version ({error})"
    return loaded


def _packaged() -> Path:
    # Not beside __file__: in an editable install the sources lie here and the library in site-packages.
    return Path(str(resources.files("szilard").joinpath("_kernels.so")))
