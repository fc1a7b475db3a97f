"""Speed of a fitted codec: megabytes of floats for each second of one core."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from climate import fields
from szilard.codec import FieldCodec

REPEATS, QUICK_REPEATS = 9, 5
LARGE = (4, 1000, 1000)  #: 4 million values
CELL = "ERA-Interim u 0.001"


def measured(root: Path, settings: dict[str, Any], quick: bool) -> list[dict[str, Any]]:
    """Rows of the arrays: medians over repeats that take turns.

    Args:
        root: folder of the data.
        settings: of the codec that was fitted to :data:`CELL`.
        quick: fewer repeats.
    """
    codec = FieldCodec.from_dict(settings)
    wind = fields.BY_NAME[CELL].array(root)
    size = float(np.abs(wind).max())
    large = np.stack([fields.smooth_noise(LARGE[1:], size, seed) for seed in range(LARGE[0])])
    arrays = {"u, 0.7 million values": wind, "noise, 4 million values": large}
    streams = {name: codec.encode(array) for name, array in arrays.items()}
    times: dict[tuple[str, str], list[float]] = {}
    for _ in range(QUICK_REPEATS if quick else REPEATS):
        for name, array in arrays.items():
            times.setdefault((name, "encode"), []).append(_seconds(lambda array=array: codec.encode(array)))
            times.setdefault((name, "decode"), []).append(
                _seconds(lambda name=name: codec.decode(streams[name]))
            )
    return [
        {
            "array": name,
            "values": array.size,
            "bits_per_value": 8 * len(streams[name]) / array.size,
            **{
                f"{what}_mb_per_s": array.nbytes / 1e6 / statistics.median(times[name, what])
                for what in ("encode", "decode")
            },
        }
        for name, array in arrays.items()
    ]


def _seconds(call: Callable[[], Any]) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started
