"""What is in a store: bounds, chunks, and the bytes of every part, without decoding any."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from szilard.codec import Bound, opening
from szilard.errors import printable
from szilard.fields import blocks
from szilard.fields.places import arrays_of, folder_of
from szilard.fields.template import MAP
from szilard.fields.zarr_codec import ZarrField


@dataclass(frozen=True)
class InspectedVariable:
    """A variable of a store that is coded with a bound.

    Attributes:
        name: of the variable.
        shape: of the variable.
        dtype: of its values.
        chunks: shape of a chunk.
        bound: in words, with units.
        weights: bytes of the weights in ``zarr.json``; 0: there are none.
        metadata: bytes of ``zarr.json``.
        parts: bytes of each part of the streams, added up over chunks, see :func:`szilard.codec.opening.sizes`.
        modes: number of chunks of each order: ``coarse to fine``, ``raster``, ``raw`` (as they are), ``missing``.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    chunks: tuple[int, ...]
    bound: str
    weights: int
    metadata: int
    parts: dict[str, int]
    modes: dict[str, int]

    @property
    def raw_bytes(self) -> int:
        """Of the values in memory."""
        return math.prod(self.shape) * int(self.dtype.removeprefix("float")) // 8

    @property
    def bytes(self) -> int:
        """On disk, metadata included."""
        return self.metadata + sum(self.parts.values())

    @property
    def ratio(self) -> float:
        """Bytes in memory for each byte on disk."""
        return self.raw_bytes / max(self.bytes, 1)


@dataclass(frozen=True)
class Inspected:
    """A store.

    Attributes:
        path: its folder.
        variables: those with a bound, by name.
        exact: bytes on disk of every other variable and coordinate.
    """

    path: Path
    variables: dict[str, InspectedVariable]
    exact: dict[str, int]


def inspect(path: str | Path) -> Inspected:
    """Read the metadata and the lengths in all chunks of a store.

    Args:
        path: a folder in zarr format 3.

    Raises:
        SzilardError: it is not a store, or it is damaged.
    """
    folder = folder_of(path)
    arrays = arrays_of(folder)
    coded, exact = {}, {}
    for name in arrays:
        codecs: Any = getattr(arrays[name].metadata, "codecs", ())
        if len(codecs) == 1 and isinstance(codecs[0], ZarrField):
            coded[name] = _inspected(arrays[name], codecs[0], folder / name)
        else:
            exact[name] = sum(file.stat().st_size for file in (folder / name).rglob("*") if file.is_file())
    return Inspected(folder, coded, exact)


def _inspected(array: Any, codec: ZarrField, folder: Path) -> InspectedVariable:
    parts: Counter[str] = Counter()
    modes: Counter[str] = Counter()
    for place in blocks.places(array.shape, array.chunks):
        file = folder / array.metadata.encode_chunk_key(place)
        if not file.is_file():
            modes["missing"] += 1
            continue
        data = file.read_bytes()
        modes[opening.order(data)] += 1
        parts.update(opening.sizes(data))
    weights = codec.to_dict()["configuration"]["weights"] or ""
    return InspectedVariable(
        name=array.basename,
        shape=tuple(array.shape),
        dtype=str(array.dtype),
        chunks=tuple(array.chunks),
        bound=_words(codec.codec.bound, dict(array.attrs)),
        weights=len(weights),
        metadata=(folder / "zarr.json").stat().st_size,
        parts=dict(parts),
        modes=dict(modes),
    )


def _words(bound: Bound, attributes: dict[str, Any]) -> str:
    units = f" {printable(str(attributes['units']))}" if attributes.get("units") else ""
    if MAP in attributes:
        return f"{printable(str(attributes[MAP]))}, at least {bound.size:.3g}{units}"
    if bound.relative:
        return f"{100 * bound.size:.4g} % of each value"
    return f"{bound.size:.4g}{units}"
