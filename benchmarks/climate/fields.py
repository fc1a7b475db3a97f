"""Fields of the benchmark and their bounds."""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

FILES = {"ERA-Interim": "eraint_uvz.nc", "ERA5 members": "era5_levels_members.nc"}
#: Variables, and bounds as shares of the variable's range.
SHARES: dict[str, dict[str, tuple[float, ...]]] = {
    "ERA-Interim": {
        "u": (1e-2, 1e-3, 5e-4, 3e-4),
        "v": (1e-2, 1e-3, 5e-4),
        "z": (1e-2, 1e-3, 3e-4, 1e-4),
    },
    "ERA5 members": {"z": (1e-2, 1e-3, 1e-4), "t": (1e-2, 1e-3, 1e-4)},
}
BESIDE = ("ERA-Interim z 0.01",)  #: printed, and no part of a mean
WIND = ("u", "v")


@dataclass(frozen=True)
class Cell:
    """A variable and a bound.

    Attributes:
        source: key of :data:`FILES`.
        variable: name in the file.
        share: the bound over the range of the whole variable.
    """

    source: str
    variable: str
    share: float

    @property
    def name(self) -> str:
        """Unique, for messages and tables."""
        return f"{self.source} {self.variable} {self.share:g}"

    @property
    def beside(self) -> bool:
        """Whether the cell is printed only."""
        return self.name in BESIDE

    def array(self, root: Path) -> np.ndarray:
        """The variable, float32, ``[.., latitude, longitude]``."""
        return variable(root, self.source, self.variable)

    def bound(self, root: Path) -> float:
        """Largest error in the variable's units."""
        array = self.array(root)
        return self.share * (float(array.max()) - float(array.min()))


CELLS = tuple(
    Cell(source, name, share)
    for source, variables in SHARES.items()
    for name, shares in variables.items()
    for share in shares
)
BY_NAME = {cell.name: cell for cell in CELLS}


@functools.lru_cache(maxsize=4)
def _dataset(path: Path) -> dict[str, np.ndarray]:
    import xarray

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xarray.SerializationWarning)  # a fill value of the packed integers
        with xarray.open_dataset(path) as found:
            arrays = {str(name): np.ascontiguousarray(found[name].values, np.float32) for name in found}
            arrays["latitude"] = found["latitude"].values.astype(np.float64)
            arrays["longitude"] = found["longitude"].values.astype(np.float64)
    for array in arrays.values():
        array.flags.writeable = False
    return arrays


def variable(root: Path, source: str, name: str) -> np.ndarray:
    """A variable, float32 and read-only; ``latitude`` and ``longitude`` are float64, degrees."""
    return _dataset(root / "climate" / FILES[source])[name]


def dimensions(source: str) -> tuple[str, ...]:
    """Names of the axes of a variable."""
    leading = ("month", "level") if source == "ERA-Interim" else ("number", "time", "isobaricInhPa")
    return (*leading, "latitude", "longitude")


def smooth_noise(shape: tuple[int, int], size: float, seed: int) -> np.ndarray:
    """A periodic random field with a spectrum as winds have it, float32, with values from -size to size."""
    random = np.random.default_rng(seed)
    height, width = shape
    rows, columns = np.fft.fftfreq(height) * height, np.fft.rfftfreq(width) * width
    wave = np.hypot(rows[:, None], columns)
    amplitude = np.maximum(wave, 3.0) ** -2.5  # of waves; their power in a ring falls as k^-4
    amplitude[0, 0] = 0
    white = np.fft.rfft2(random.standard_normal(shape))
    field = np.fft.irfft2(white * amplitude, s=shape)
    return (field * (size / np.abs(field).max())).astype(np.float32)
