"""One stream of entropy-coded integers for a whole file."""

from __future__ import annotations

import copy
import ctypes
import enum
from typing import Any

import numpy as np

from szilard.coding import adaptive, range_coder
from szilard.coding.adaptive import LARGEST
from szilard.coding.errors import CodingError
from szilard.kernels import native

Ints = np.ndarray  # int32 [rows, cols], or [n], which is one row


class Model(enum.IntEnum):
    """The model: what the probabilities of a level depend on.

    Attributes:
        NEIGHBOURS: the levels to its left.
        HISTORY: running means of the levels above it and to its left; better if inputs or outputs differ, as in pruned
            networks.
        MASK: as HISTORY, for zeros and ones.
    """

    NEIGHBOURS = adaptive.NEIGHBOURS
    HISTORY = adaptive.HISTORY
    MASK = adaptive.MASK


class Encoder:
    """Encodes tensors into one stream of bytes; the models adapt across tensors.

    Args:
        compiled: use the C++ coder; None: if it is built. The bytes are the same.
    """

    def __init__(self, compiled: bool | None = None) -> None:
        self._native = native.available() if compiled is None else compiled
        self._contexts = _fresh_contexts(self._native)
        self._out = bytearray()
        self._python = range_coder.RangeEncoder()
        self._state = (ctypes.c_uint64 * 4)(0, 0xFFFFFFFF, 0, 0)

    def rate(self, levels: Ints, model: Model = Model.NEIGHBOURS) -> float:
        """Bits that :meth:`levels` would add, as -log2 of the model's probability; stream and models stay as they are.

        Raises:
            CodingError: a level outside ±(2^23 - 1), or outside {0, 1} under ``MASK``.
        """
        return self._rate(_matrix(levels, model), model)[0]

    def levels(self, levels: Ints, model: Model = Model.NEIGHBOURS) -> float:
        """Append integers; returns their code length as :meth:`rate` does.

        Args:
            levels: int32 ``[rows, cols]`` or ``[n]``.
            model: which contexts determine the probability of a level.

        Raises:
            CodingError: as :meth:`rate`.
        """
        matrix = _matrix(levels, model)
        bits, decisions = self._rate(matrix, model)
        rows, cols = matrix.shape
        if not self._native:
            adaptive.matrix(self._python, self._contexts, model, rows, cols, matrix.ravel().tolist())
            return bits
        out, written = self._room(range_coder.most_bytes(bits, decisions)), ctypes.c_int64()
        status = native.library().szilard_encode(
            self._contexts.ctypes.data, self._contexts.size, self._state, len(self._state), model, rows, cols,
            matrix.ctypes.data, out.ctypes.data, out.size, ctypes.byref(written),
        )  # fmt: skip
        native.check(status, "encode")
        self._out += out[: written.value].data
        return bits

    def mask(self, mask: np.ndarray) -> float:
        """Append a mask, bool ``[rows, cols]``; returns its code length in bits."""
        return self.levels(np.asarray(mask, dtype=bool).astype(np.int32), Model.MASK)

    def finish(self) -> bytes:
        """The whole stream; the encoder cannot be used afterwards."""
        if not self._native:
            return self._python.finish()
        out, written = self._room(5), ctypes.c_int64()
        status = native.library().szilard_encode_end(
            self._state, len(self._state), out.ctypes.data, out.size, ctypes.byref(written)
        )
        native.check(status, "encode")
        self._out += out[: written.value].data
        found = bytes(self._out)
        self._out.clear()
        return found

    def _room(self, count: int) -> np.ndarray:
        """An array for ``count`` bytes and the pending ones."""
        return np.empty(count + int(self._state[3]), np.uint8)

    def _rate(self, matrix: Ints, model: Model) -> tuple[float, int]:
        """Code length in bits, and number of decisions."""
        contexts = copy.deepcopy(self._contexts)
        rows, cols = matrix.shape
        if not self._native:
            price = range_coder.Price()
            adaptive.matrix(price, contexts, model, rows, cols, matrix.ravel().tolist())
            return price.bits, price.decisions
        bits, decisions = ctypes.c_double(), ctypes.c_int64()
        status = native.library().szilard_rate(
            contexts.ctypes.data, contexts.size, model, rows, cols, matrix.ctypes.data, ctypes.byref(bits),
            ctypes.byref(decisions),
        )  # fmt: skip
        native.check(status, "encode")
        return bits.value, decisions.value


class Decoder:
    """Decodes a stream of :class:`Encoder`; tensors must be read in the order and with the models of writing.

    Args:
        data: the stream.
        compiled: as in :class:`Encoder`.
        priced: count the code length of the levels in :attr:`bits`, which takes a little time.

    Attributes:
        bits: code length of the levels decoded so far, as of :meth:`Encoder.rate`; 0 unless ``priced``.
    """

    def __init__(
        self, data: bytes | memoryview, compiled: bool | None = None, *, priced: bool = False
    ) -> None:
        self._native = native.available() if compiled is None else compiled
        self._contexts = _fresh_contexts(self._native)
        self._data = bytes(data)
        self._priced = priced
        coder = range_coder.PricedDecoder if priced else range_coder.RangeDecoder
        self._python = None if self._native else coder(self._data)
        self._state = (ctypes.c_uint64 * 3)(0, 0, 0)
        self.bits = 0.0

    def levels(self, rows: int, cols: int, model: Model = Model.NEIGHBOURS) -> Ints:
        """The next ``rows * cols`` integers, int32 ``[rows, cols]``. The caller must bound their number.

        Raises:
            CodingError: the bytes end too early, or no encoder has written them.
        """
        if rows < 0 or cols < 0 or rows * cols > self._most():
            raise CodingError(
                f"{rows} by {cols} coded levels are more than the remaining bytes can hold; the file is damaged"
            )
        if self._python is not None:
            found = adaptive.matrix(self._python, self._contexts, model, rows, cols)
            if isinstance(self._python, range_coder.PricedDecoder):
                self.bits = self._python.bits
            return np.array(found, dtype=np.int32).reshape(rows, cols)
        levels = np.empty((rows, cols), dtype=np.int32)
        bits = ctypes.c_double()
        status = native.library().szilard_decode(
            self._contexts.ctypes.data, self._contexts.size, self._state, len(self._state), model, rows, cols,
            self._data, len(self._data), levels.ctypes.data, levels.size, ctypes.byref(bits) if self._priced else None,
        )  # fmt: skip
        if status == native.BAD_STREAM:
            raise CodingError(
                "the coded levels end too early or contain one that is too large; the file is damaged"
            )
        native.check(status, "decode")
        self.bits += bits.value
        return levels

    def _most(self) -> int:
        """The most levels that the remaining bytes can hold, a bound that is known before decoding."""
        left = len(self._data) + range_coder.BEYOND - max(self._position(), 4)
        return range_coder.most_decisions(left)

    def _position(self) -> int:
        """Number of bytes read."""
        return self._state[2] if self._python is None else self._python.position

    def mask(self, rows: int, cols: int) -> np.ndarray:
        """The next mask, bool ``[rows, cols]``."""
        return self.levels(rows, cols, Model.MASK).astype(bool)

    def finish(self) -> None:
        """Check that the stream has been read to its end.

        Raises:
            CodingError: if bytes are left over, or more were read than there are.
        """
        position = max(self._position(), 4)  # both implementations read four bytes when they begin
        if not 0 <= position - len(self._data) <= range_coder.BEYOND:
            raise CodingError(
                f"the coded levels take {position} bytes and their part has {len(self._data)}; the file is damaged"
            )


def _fresh_contexts(compiled: bool) -> Any:
    if not compiled:
        return adaptive.fresh_contexts()
    return np.full(native.library().szilard_contexts(), 1 << 15, dtype=np.uint32)


def _matrix(levels: Ints, model: Model) -> Ints:
    """int32 ``[rows, cols]``, checked."""
    array = np.asarray(levels)
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.integer):
        raise CodingError(
            f"levels must be a matrix of integers, not {array.dtype} of shape {array.shape}; reshape or round them"
        )
    least, most = (0, 1) if model == Model.MASK else (-LARGEST, LARGEST)
    if array.size and (array.min() < least or array.max() > most):
        raise CodingError(
            f"levels must be between {least} and {most}, not from {array.min()} to {array.max()}; "
            "take a larger step"
        )
    return np.ascontiguousarray(array, dtype=np.int32)
