"""The field codec for numcodecs and zarr format 2: it fits its weights to each array and stores them in its stream."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numcodecs.abc import Codec
from numcodecs.compat import ensure_bytes, ndarray_copy
from numcodecs.registry import register_codec

from szilard.codec import Bound, FieldCodec
from szilard.errors import SzilardError

KINDS = ("absolute", "relative")
#: Behind a stream: whether the array was in column order in memory, and whether its numbers were big-endian.
MARKS = {b"F": (True, False), b"B": (False, True), b"X": (True, True)}


class NumcodecsField(Codec):
    """Arrays to bytes with a bound on the error of every value.

    Args:
        bound: of every value, positive.
        kind: ``"absolute"``, in units of the array, or ``"relative"``, a share of each value's magnitude.
        periodic: whether the last axis goes around, as longitudes do.
        effort: factor on the time of the fit; 0: the default weights.
        seed: of the fit.
    """

    codec_id = "szilard.field"

    def __init__(
        self, bound: float, kind: str = "absolute", periodic: bool = False, effort: float = 1.0, seed: int = 0
    ) -> None:
        if kind not in KINDS:
            raise SzilardError(f"the kind of a bound must be absolute or relative, not {kind!r}")
        for name, value in (("bound", bound), ("effort", effort)):
            if isinstance(value, bool) or not isinstance(value, int | float | np.number):
                raise SzilardError(f"{name} must be a number, not {value!r}")
        if not (effort >= 0 and np.isfinite(effort)):
            raise SzilardError(f"effort must be finite and not negative, not {effort:g}")
        self.bound, self.kind, self.periodic = float(bound), kind, bool(periodic)
        self.effort, self.seed = float(effort), int(seed)
        Bound(self.bound, kind == "relative")

    def encode(self, buf: Any) -> bytes:
        """The stream of an array, weights included, and a mark if values are in memory in column order or big-endian.

        Args:
            buf: an array of float32 or float64 with one to five dimensions.
        """
        array = np.asarray(buf)
        if isinstance(buf, bytes | bytearray | memoryview) and array.dtype.kind != "f":
            raise SzilardError(
                "the codec szilard.field encodes arrays of float32 or float64, not plain bytes"
            )
        kept = array.flags.f_contiguous and not array.flags.c_contiguous, _is_big(array.dtype)
        mark = next((one for one, meant in MARKS.items() if meant == kept), b"")
        codec = FieldCodec.fit(
            array, Bound(self.bound, self.kind == "relative"), periodic=self.periodic, within=True,
            seed=self.seed, effort=self.effort,
        )  # fmt: skip
        return codec.encode(array) + mark

    def decode(self, buf: Any, out: Any = None) -> Any:
        """The array of a stream.

        Args:
            buf: the stream.
            out: array that takes the values; None: a new one with the shape, and the order in memory, of the one that
                was encoded.
        """
        data = bytes(ensure_bytes(buf))
        marked = _marked(data)
        array = FieldCodec(Bound(self.bound, self.kind == "relative")).decode(data[:-1] if marked else data)
        if marked:  # zarr takes the bytes as they are in memory
            column, big = MARKS[data[-1:]]
            array = array.astype(array.dtype.newbyteorder(">" if big else "<"), order="F" if column else "C")
        if out is None:
            return array
        given = np.asarray(out)
        if given.size != array.size or given.itemsize != array.itemsize:
            raise SzilardError(
                f"the stream holds {array.size} values of {array.dtype}, which do not fit the array that is given"
            )
        if isinstance(out, np.ndarray) and out.shape == array.shape:
            np.copyto(out, array.view(out.dtype) if out.dtype.kind != "f" else array)
            return out
        return ndarray_copy(array, out)

    def get_config(self) -> dict[str, Any]:
        """The settings, as numcodecs stores them."""
        return {
            "id": self.codec_id,
            "bound": self.bound,
            "kind": self.kind,
            "periodic": self.periodic,
            "effort": self.effort,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> NumcodecsField:
        """The codec of :meth:`get_config`.

        Raises:
            SzilardError: a setting is missing, unknown or has the wrong type.
        """
        settings = {key: value for key, value in config.items() if key != "id"}
        try:
            return cls(**settings)
        except (TypeError, ValueError):
            raise SzilardError(
                "the settings of the codec szilard.field are damaged, or of a newer version"
            ) from None


def _is_big(dtype: np.dtype) -> bool:
    return dtype != dtype.newbyteorder("<")


def _marked(data: bytes) -> bool:
    """Whether a mark follows a whole stream, which ends in a checksum of all before it."""
    return data[-1:] in MARKS and zlib.crc32(data[:-5]) == int.from_bytes(data[-5:-1], "little")


register_codec(
    NumcodecsField
)  # for a checkout that is not installed; otherwise numcodecs finds the entry point
