"""What xarray remembers of the file that a variable came from, where it would undo a bound."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import xarray as xr

from szilard.errors import SzilardError, SzilardWarning, printable
from szilard.fields.limits import Limit
from szilard.fields.zarr_codec import ZarrField

PACKING = ("scale_factor", "add_offset")
FILLING = ("_FillValue", "missing_value")
_STORAGE = frozenset({
    "chunks", "preferred_chunks", "chunksizes", "contiguous", "compressor", "compressors", "compression",
    "compression_opts", "filters", "serializer", "shards", "shuffle", "zlib", "zstd", "szip", "blosc", "bzip2",
    "complevel", "fletcher32", "endian", "source", "original_shape", "write_empty_chunks", "chunk_key_encoding",
    "cache_metadata", "unlimited_dims",
})  # fmt: skip


def checked(name: str, variable: xr.Variable, limit: Limit) -> None:
    """Raise if a reader would decode a variable again, and warn if it was packed or rounded before.

    Args:
        name: of a variable that gets a bound.
        variable: as it is in memory.
        limit: the bound.
    """
    shown = printable(name)
    raw = [key for key in (*PACKING, *FILLING) if key in variable.attrs]
    if raw:
        raise SzilardError(
            f"{shown} has {raw[0]} in its attributes: its values are not decoded, so that a bound on them would not "
            "hold for a reader; open the file with decode_cf=True, or delete the attribute"
        )
    before = variable.encoding.get("serializer")
    if isinstance(before, ZarrField):
        warnings.warn(
            SzilardWarning(
                f"{shown} was rounded before, with the bound {before.words}, and is now rounded with {limit.words}; "
                "errors add up, so that the first original is not within the new bound"
            ),
            stacklevel=2,
        )
    kept = variable.encoding.get("dtype")
    packed = [key for key in PACKING if key in variable.encoding]
    if packed or (kept is not None and _other(np.dtype(kept), variable.dtype)):
        how = f" as {np.dtype(kept)}" if kept is not None else ""
        warnings.warn(
            SzilardWarning(
                f"{shown} was packed{how} in the file that it came from; that packing is left out, its decoded values "
                f"({variable.dtype}) are stored within the bound, and ratios of size count those"
            ),
            stacklevel=2,
        )


def _other(kept: np.dtype, dtype: np.dtype) -> bool:
    """Whether two types differ in more than the order of bytes."""
    return kept.newbyteorder("=") != dtype.newbyteorder("=")


def plain(variable: xr.Variable) -> dict[str, Any]:
    """The encoding of a variable without a bound: how its values are written, not how another file stored them."""
    return {key: value for key, value in variable.encoding.items() if key not in _STORAGE}
