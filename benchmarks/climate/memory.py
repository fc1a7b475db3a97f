"""Peak memory of writing a store from values that are made chunk by chunk, in a process of its own.

    python benchmarks/climate/memory.py MEGABYTES FOLDER

prints ``{"megabytes": .., "peak_mb": .., ..}``.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

BENCHMARKS = Path(__file__).parents[1]
SIZES, QUICK_SIZES = (2000, 8000), (200, 400)  #: megabytes of float32
SLICE = (1024, 1024)
SHARE = 1e-3  #: the bound over the largest value


def measured(megabytes: int) -> dict[str, Any]:
    """The row of a store of this size, which is deleted.

    Raises:
        RuntimeError: the process failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, str(megabytes), folder]
        done = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False
        )
    if done.returncode:
        raise RuntimeError(
            f"writing {megabytes} MB failed with status {done.returncode}: {done.stderr[-2000:]}"
        )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def growth_percent(rows: list[dict[str, Any]]) -> float | None:
    """How much more the largest store takes than the smallest."""
    if len(rows) < 2:
        return None
    small, large = (pick(rows, key=lambda row: row["megabytes"]) for pick in (min, max))
    return float(100 * (large["peak_mb"] / small["peak_mb"] - 1))


def main(megabytes: int, folder: Path) -> None:
    """Write a store and print what it took."""
    sys.path.insert(0, str(BENCHMARKS))
    import dask.array as da
    import xarray as xr

    from climate.fields import smooth_noise
    from szilard import fields

    count = round(megabytes * 1e6 / (4 * SLICE[0] * SLICE[1]))

    def made(block_info: Any = None) -> np.ndarray:
        """One slice: the first is always the same, so that the fit is, too."""
        return smooth_noise(SLICE, 1.0, block_info[None]["chunk-location"][0])[None]

    values = da.map_blocks(made, chunks=((1,) * count, *((length,) for length in SLICE)), dtype=np.float32)
    dataset = xr.Dataset({"wind": (("time", "latitude", "longitude"), values)})
    started = time.perf_counter(), time.process_time()
    fields.write(dataset, folder / "store.zarr", SHARE, periodic=True)
    wall, processor = time.perf_counter() - started[0], time.process_time() - started[1]
    unit = 1 if sys.platform == "darwin" else 1024  # bytes of ru_maxrss
    size = sum(path.stat().st_size for path in (folder / "store.zarr").rglob("*") if path.is_file())
    row = {
        "megabytes": megabytes,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6,
        "store_bytes": size,
        "seconds": wall,
        "processor_seconds": processor,
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
