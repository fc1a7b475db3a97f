"""The field codec in zarr format 3: the weights are in ``zarr.json``, and chunks hold none."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from zarr.abc.codec import ArrayBytesCodec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer, NDBuffer
from zarr.registry import register_codec

from szilard.codec import FieldCodec
from szilard.errors import SzilardError
from szilard.fields import calls, rounded

NAME = "szilard.field"


@dataclass(frozen=True, init=False)
class ZarrField(ArrayBytesCodec):
    """Arrays to bytes with a bound on the error of every value, as ``serializer`` of a zarr array.

    Instead of a codec it takes the settings of one, as keywords.

    Attributes:
        settings: the codec as JSON, see :meth:`szilard.codec.FieldCodec.to_dict`.
        codec: the codec.

    Args:
        codec: fitted with ``within=False``.
    """

    is_fixed_size = False

    settings: str = field(repr=False)
    codec: FieldCodec = field(compare=False, repr=False)

    def __init__(self, codec: FieldCodec | None = None, **settings: Any) -> None:
        if codec is None:
            codec = FieldCodec.from_dict(settings)
        elif settings:
            raise SzilardError("ZarrField takes a codec or its settings, not both")
        object.__setattr__(self, "settings", json.dumps(codec.to_dict(), sort_keys=True))
        object.__setattr__(self, "codec", codec)

    @property
    def words(self) -> str:
        """The bound: ``0.05``, or ``1 % of each value``; of a map the least one."""
        bound = self.codec.bound
        return f"{100 * bound.size:.4g} % of each value" if bound.relative else f"{bound.size:.4g}"

    def __repr__(self) -> str:
        kind = "relative" if self.codec.bound.relative else "absolute"
        return f"ZarrField({kind} bound {self.codec.bound.size:g})"

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ZarrField:
        """The codec of an entry of ``zarr.json``.

        Raises:
            SzilardError: the entry is damaged.
        """
        settings = data.get("configuration")
        if data.get("name") != NAME or not isinstance(settings, dict) or set(data) > {
            "name", "configuration", "must_understand",
        }:  # fmt: skip
            raise SzilardError(
                f"the entry of the codec {NAME} in zarr.json is damaged, or of a newer version"
            )
        return cls(FieldCodec.from_dict(settings))

    def to_dict(self) -> dict[str, Any]:
        """The entry for ``zarr.json``."""
        return {"name": NAME, "configuration": json.loads(self.settings)}

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """Refuse arrays that the codec cannot hold.

        Args:
            shape: of the array.
            dtype: zarr's type of it.
            chunk_grid: not used.
        """
        _native(dtype)

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """Not known before the array is encoded."""
        raise NotImplementedError

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        data = await asyncio.to_thread(self._encode, chunk_data.as_numpy_array(), _native(chunk_spec.dtype))
        return chunk_spec.prototype.buffer.from_bytes(data)

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        dtype = _native(chunk_spec.dtype)
        array = await asyncio.to_thread(
            calls.decoded, self.codec, chunk_data.to_bytes(), chunk_spec.shape, dtype
        )
        return chunk_spec.prototype.nd_buffer.from_numpy_array(array)

    def _encode(self, array: np.ndarray, dtype: np.dtype) -> bytes:
        values = array.astype(dtype, copy=False)
        rounded.warn_once(values, self.codec.bound, self.settings)
        return calls.encoded(self.codec, values)


def _native(dtype: Any) -> np.dtype:
    """The type of numpy; raises unless it is a float of four or eight bytes, in any byte order."""
    found: np.dtype = dtype.to_native_dtype()
    if found.kind != "f" or found.itemsize not in (4, 8):
        raise SzilardError(
            f"the codec {NAME} stores float32 and float64, not {found}; convert the array first"
        )
    return found


register_codec(NAME, ZarrField)  # for a checkout that is not installed; otherwise zarr finds the entry point
