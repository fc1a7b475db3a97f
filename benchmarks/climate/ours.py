"""Our codec on a cell: fitted, coded, decoded, judged."""

from __future__ import annotations

import base64
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from climate import fields, judging, stores, utility
from szilard.codec import Bound, FieldCodec

Row = dict[str, Any]
#: The picture of errors: a cell, the first slice, and its rows and columns, 20° to 80° N and 90° W to 30° E.
PICTURED, ROWS, COLUMNS = "ERA-Interim u 0.001", slice(13, 94), slice(120, 281)
FASTEST = 80.0  #: m/s, of the colours of the pictured wind


def measured(root: Path, name: str, effort: float) -> Row:
    """The row of a cell: bytes, errors, seconds, and the fitted codec as JSON holds it."""
    cell = fields.BY_NAME[name]
    array, bound = cell.array(root), cell.bound(root)
    started = time.process_time()
    codec = FieldCodec.fit(array, Bound(bound), periodic=True, effort=effort)
    fitted = time.process_time()
    stream = codec.encode(array)
    encoded = time.process_time()
    decoded = codec.decode(stream)
    seconds = fitted - started, encoded - fitted, time.process_time() - encoded
    settings = codec.to_dict()
    best = utility.measures(array, decoded, bound, fields.variable(root, cell.source, "latitude"))
    if name == PICTURED:
        best["picture"] = packed(crop(decoded - array) / bound)
        best["field"] = packed(crop(array) / FASTEST)
    return {
        "cell": name,
        "bytes": stores.our_bytes(array, stream, settings, fields.dimensions(cell.source)),
        "stream": len(stream),
        "raw": array.nbytes,
        "bound": bound,
        "error": judging.largest_error(array, decoded) / bound,
        "violations": judging.violations(array, decoded, bound),
        "fit_seconds": seconds[0],
        "encode_seconds": seconds[1],
        "decode_seconds": seconds[2],
        "crc": zlib.crc32(decoded.tobytes()),
        "codec": settings,
        "effort": effort,
        "best": best,
    }


def recoded(root: Path, row: Row) -> tuple[FieldCodec, bytes]:
    """The codec of a row and its stream."""
    codec = FieldCodec.from_dict(row["codec"])
    return codec, codec.encode(fields.BY_NAME[row["cell"]].array(root))


def crop(array: np.ndarray) -> np.ndarray:
    """The pictured part of the first slice."""
    first = array.reshape(-1, *array.shape[-2:])[0]
    return np.ascontiguousarray(first[ROWS, COLUMNS])


def packed(values: np.ndarray) -> dict[str, Any]:
    """Values from -1 to 1 as JSON, in 127ths."""
    bytes_ = np.clip(np.rint(values * 127), -127, 127).astype(np.int8)
    return {
        "shape": list(values.shape),
        "values": base64.b64encode(zlib.compress(bytes_.tobytes(), 9)).decode(),
    }


def unpacked(given: dict[str, Any]) -> np.ndarray:
    """Undo :func:`packed`."""
    data = zlib.decompress(base64.b64decode(given["values"]))
    return np.frombuffer(data, np.int8).reshape(given["shape"]) / 127
