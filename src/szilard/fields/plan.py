"""What is to be written of a variable with a bound."""

from __future__ import annotations

from dataclasses import dataclass

import xarray as xr

from szilard.fields.limits import Limit


@dataclass(frozen=True, eq=False)
class Plan:
    """A variable to write.

    Attributes:
        name: of the variable.
        variable: its values, which may be lazy.
        limit: its bound.
        chunks: shape of a chunk.
        periodic: whether the last axis goes around.
    """

    name: str
    variable: xr.Variable
    limit: Limit
    chunks: tuple[int, ...]
    periodic: bool
