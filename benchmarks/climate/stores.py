"""Sizes of zarr stores of one array: the metadata as zarr writes it, and the streams."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np


def metadata(
    array: np.ndarray, chunk: Sequence[int], codec: str, configuration: dict[str, Any], names: Sequence[str]
) -> bytes:
    """``zarr.json`` of an array of floats, as xarray and zarr 3 write it.

    Args:
        array: the values; only shape and type are read.
        chunk: shape of a chunk.
        codec: name of the codec that turns a chunk into bytes.
        configuration: its settings.
        names: of the dimensions.
    """
    found = {
        "shape": list(array.shape),
        "data_type": array.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunk)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": "NaN",
        "codecs": [{"name": codec, "configuration": configuration}],
        "attributes": {"_FillValue": "AAAAAAAA+H8="},  # NaN
        "dimension_names": list(names),
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }
    return json.dumps(found, indent=2).encode()


def peer_bytes(
    array: np.ndarray,
    streams: Sequence[bytes],
    codec: str,
    configuration: dict[str, Any],
    names: Sequence[str],
) -> int:
    """Bytes of a peer's store; a stream is a chunk.

    The order of axes and their division among streams are in the configuration, and count.
    """
    chunk = array.shape if len(streams) == 1 else (*(1 for _ in array.shape[:-2]), *array.shape[-2:])
    return len(metadata(array, chunk, codec, configuration, names)) + sum(map(len, streams))


def our_bytes(array: np.ndarray, stream: bytes, configuration: dict[str, Any], names: Sequence[str]) -> int:
    """Bytes of a store of ours with one chunk; the codec's configuration holds the weights, or the stream does."""
    return len(metadata(array, array.shape, "szilard.field", configuration, names)) + len(stream)
