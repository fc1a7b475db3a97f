"""Types of the C ABI (``csrc/core/core.h``) for the tables of functions.

Structures are passed by ``ctypes.byref``, a Key by value. An output array is followed by its number of elements.
"""

from __future__ import annotations

import ctypes

I32 = ctypes.c_int32
I64 = ctypes.c_int64
INT = ctypes.c_int
FLOAT = ctypes.c_float
ARRAY = ctypes.c_void_p
OUT = (ARRAY, I64)  # an output array and its number of elements

Arguments = tuple[type, ...]


class Index(ctypes.Structure):
    """``szilard_index``: a support as sizes and addresses of int32 arrays; those of the transpose can be None."""

    _fields_ = (
        *((name, I32) for name in ("rows", "cols", "nnz")),
        *((name, ARRAY) for name in ("crow", "col", "t_crow", "t_col", "t_perm")),
    )


class Key(ctypes.Structure):
    """``szilard_key``: (seed, draw), which determines the normal numbers."""

    _fields_ = (("seed", ctypes.c_uint64), ("draw", ctypes.c_uint64))


class Geometry(ctypes.Structure):
    """``szilard_geometry``: a 2-d convolution or pooling."""

    _fields_ = tuple(
        (name, I32)
        for name in (
            *("batch", "channels", "height", "width", "out_channels", "out_height", "out_width"),
            *("kernel_h", "kernel_w", "stride_h", "stride_w", "pad_h", "pad_w", "dilation_h", "dilation_w"),
            "groups",
        )
    )


INDEX = ctypes.POINTER(Index)
GEOMETRY = ctypes.POINTER(Geometry)
