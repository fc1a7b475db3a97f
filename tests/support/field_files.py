"""Files of fields for tests of the commands, and fits that take little time."""

from __future__ import annotations

from pathlib import Path

import pytest
import xarray as xr
from field_stores import codec, dataset

from szilard.fields import calls


def quick_fits(patch: pytest.MonkeyPatch) -> None:
    """Every fit gives a codec that predicts the mean of the neighbours."""

    def fitted(sample, bound, bounds, *, periodic, seed, effort):
        return codec(bound.size, bound.relative, periodic)

    patch.setattr(calls, "fitted", fitted)


def netcdf(path: Path, data: xr.Dataset | None = None, **encoding: dict) -> Path:
    """A dataset as netCDF, that of :func:`field_stores.dataset` by default."""
    (dataset() if data is None else data).to_netcdf(path, engine="netcdf4", encoding=encoding or None)
    return path
