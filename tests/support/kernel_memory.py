"""Arrays between protected pages for tests of the C ABI: an access one element out of bounds is a segmentation fault.

This also detects accesses that sanitizers do not check, such as AVX-512's masked loads.
"""

from __future__ import annotations

import ctypes
import mmap
import re
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from szilard.kernels import native
from szilard.sparse import Support

PROT_NONE, PROT_READ = 0, 1  # of sys/mman.h

_CSRC = Path(__file__).parents[2] / "csrc"
_HEADER = re.sub(r"//.*", "", "".join(path.read_text() for path in sorted(_CSRC.glob("*/*.h"))))
#: Parameter names of each function that returns a status.
PARAMETERS = {
    name: [re.findall(r"\w+", parameter)[-1] for parameter in parameters.split(",")]
    for name, parameters in re.findall(r"SZILARD_API int (\w+)\(([^)]*)\);", _HEADER)
}

needs_kernels = pytest.mark.skipif(
    sys.platform != "linux" or not native.available(), reason="the C++ kernels are not built"
)


class Memory:
    """Arrays for one call; each ends (or begins) at a page that cannot be read or written."""

    def __init__(self, at_end: bool) -> None:
        self._at_end = at_end
        self._kept: list[object] = []

    def input(self, values: Tensor | None) -> int | None:
        """The address of a read-only copy; None for None."""
        if values is None:
            return None
        array, pages = self._array(values.shape, values.dtype)
        array.copy_(values)
        if pages:
            _protect(*pages, PROT_READ)
        return array.data_ptr()

    def output(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """An output array, filled with NaN (or 77, for integers)."""
        array, _ = self._array(shape, dtype)
        return array.fill_(float("nan") if dtype.is_floating_point else 77)

    def index(self, support: Support, transpose: bool = True) -> native.Index:
        arrays = [self.input(a) for a in support.index]
        if not transpose:
            arrays[2:] = [None] * 3
        return native.Index(support.rows, support.cols, support.nnz, *arrays)

    def _array(
        self, shape: tuple[int, ...] | torch.Size, dtype: torch.dtype
    ) -> tuple[Tensor, tuple[int, int] | None]:
        size = torch.Size(shape).numel()
        if not size:
            return torch.empty(shape, dtype=dtype), None
        length = size * dtype.itemsize
        inner = -(-length // mmap.PAGESIZE) * mmap.PAGESIZE
        pages = mmap.mmap(-1, inner + 2 * mmap.PAGESIZE)
        self._kept.append(pages)
        base = ctypes.addressof(ctypes.c_char.from_buffer(pages))
        _protect(base, mmap.PAGESIZE, PROT_NONE)
        _protect(base + mmap.PAGESIZE + inner, mmap.PAGESIZE, PROT_NONE)
        offset = mmap.PAGESIZE + (inner - length if self._at_end else 0)
        array = torch.frombuffer(pages, dtype=dtype, count=size, offset=offset).view(shape)
        self._kept.append(array)
        return array, (base + mmap.PAGESIZE, inner)


def call(name: str, *arguments: object, rooms: dict[str, int] | None = None) -> int:
    """Call ``szilard_<name>`` and return its status; structures are passed by reference, tensors by address.

    Pass an output array once: its size parameter ``_room`` is the number of elements unless ``rooms`` overrides it.
    """
    given, converted, last = iter(arguments), [], None
    for parameter in PARAMETERS[f"szilard_{name}"]:
        if parameter.endswith("_room"):
            room = last.numel() if isinstance(last, Tensor) else 0
            converted.append((rooms or {}).get(parameter, room))
            continue
        last = next(given)
        if isinstance(last, native.Index | native.Geometry):
            converted.append(ctypes.byref(last))
        else:
            converted.append(last.data_ptr() if isinstance(last, Tensor) else last)
    assert not list(given)
    return int(getattr(native.library(), f"szilard_{name}")(*converted))


def close(ours: Tensor, exact: Tensor, terms: Tensor | None = None, tolerance: float = 2e-5) -> None:
    """Check equality to single precision, relative to the largest entry and the largest sum of absolute ``terms``."""
    assert ours.shape == exact.shape
    if not exact.numel():
        return
    allowed = tolerance * exact.abs().max() + (0 if terms is None else 2e-6 * terms.abs().max()) + 1e-30
    assert (ours.double() - exact).abs().max() <= allowed


def _protect(address: int, length: int, how: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    status = libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(length), how)
    assert status == 0, ctypes.get_errno()
