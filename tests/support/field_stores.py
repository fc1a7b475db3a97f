"""Fields, codecs that need no fit, and datasets for tests of stores."""

from __future__ import annotations

import numpy as np
import xarray as xr

from szilard.codec import Bound, FieldCodec, weights
from szilard.codec.features import INPUTS, LINEAR
from szilard.codec.grid import MOST_LEVELS
from szilard.codec.network import Network


def codec(bound=0.05, relative=False, periodic=False, hidden=3):
    """A codec that predicts the mean of the four nearest neighbours."""

    def zeros(*shape):
        return np.zeros(shape, np.int64)

    network = Network(
        zeros(MOST_LEVELS, 3, LINEAR), zeros(hidden, INPUTS), zeros(hidden, hidden), zeros(2, hidden),
        zeros(2 * hidden + 2),
    )  # fmt: skip
    given = weights.Weights(network, dict.fromkeys(weights.PARTS, 0))
    return FieldCodec(Bound(bound, relative), periodic, weights=given, within=False)


def smooth(*shape, seed=0, dtype=np.float32):
    """Sums of waves and a little noise."""
    r = np.random.default_rng(seed)
    total = np.zeros(shape)
    for axis, length in enumerate(shape):
        wave = np.sin(np.linspace(0, 3 + r.random(), length) * (1 + axis)) * (10 + axis)
        total += wave.reshape(-1, *(1,) * (len(shape) - axis - 1))
    return (total + 0.02 * r.normal(size=shape)).astype(dtype)


def dataset(times=10, rows=20, columns=36, seed=0):
    """Two fields, a small integer variable, and coordinates of each kind."""
    t = smooth(times, rows, columns, seed=seed)
    u = smooth(times, rows, columns, seed=seed + 1, dtype=np.float64)
    return xr.Dataset(
        {
            "t": (("time", "lat", "lon"), t, {"units": "K", "long_name": "temperature"}),
            "u": (("time", "lat", "lon"), u, {"units": "m s-1"}),
            "n": (("time",), np.arange(times, dtype=np.int16)),
        },
        {
            "time": np.datetime64("2001-02-03", "ns") + np.arange(times) * np.timedelta64(6, "h"),
            "lat": ("lat", np.linspace(90, -90, rows), {"units": "degrees_north"}),
            "lon": ("lon", np.arange(columns) * (360 / columns), {"units": "degrees_east"}),
            "area": (("lat", "lon"), smooth(rows, columns, seed=seed + 2)),
            "label": ("time", [f"step {n}" for n in range(times)]),
        },
        {"source": "a test", "version": 3},
    )


def codecs(**bounds):
    """A codec without a fit for each variable; ``fit=`` of a write takes them."""
    return {name: codec(size) for name, size in bounds.items()}
