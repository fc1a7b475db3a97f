"""Options of ``szilard encode`` and ``szilard decode``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_BOUNDS, _STORE, _WORK = "Bounds", "Store", "Work"

Source = Annotated[
    Path,
    typer.Argument(
        metavar="INPUT",
        help="A netCDF file, a zarr store, or a .npy file of one array of float32 or float64.",
    ),
]
Store = Annotated[Path, typer.Argument(metavar="STORE", help="A folder that szilard encode has written.")]
Out = Annotated[
    Path, typer.Option("--out", "-o", metavar="STORE", help="Folder to write.", rich_help_panel=_STORE)
]
Plain = Annotated[
    Path,
    typer.Option(
        "--out",
        "-o",
        metavar="OUT",
        help="What to write; its ending chooses the format: .nc (netCDF), .zarr or .npy (one variable).",
    ),
]
Bound = Annotated[
    list[str] | None,
    typer.Option(
        "--bound",
        metavar="NAME=B",
        help="Largest error of every value of a variable: 0.05 (in its units), relative:0.01 (a share of each value's "
        "magnitude), range:1e-3 (a share of the variable's range), map:NAME or map:0.5*NAME (another variable gives a "
        "bound for each value). '*=B' is for every other float variable; without a bound a variable is stored exactly. "
        "NAME= can be left out if there is one variable.",
        rich_help_panel=_BOUNDS,
    ),
]
Chunks = Annotated[
    str | None,
    typer.Option(
        "--chunks",
        metavar="DIM=N,...",
        help="Lengths of chunks by dimension, as time=24,lat=-1; -1 is the whole axis. Default: about two million "
        "values, with whole slices.",
        rich_help_panel=_STORE,
    ),
]
Periodic = Annotated[
    bool | None,
    typer.Option(
        "--periodic/--no-periodic",
        help="Whether the last axis goes around. Default: if it has longitudes of the whole globe.",
        rich_help_panel=_WORK,
    ),
]
Effort = Annotated[
    float,
    typer.Option(
        "--effort",
        metavar="X",
        help="Factor on the time of the fit, half a minute of a core for each variable; 0 takes the weights that are "
        "shipped, and the store is larger.",
        rich_help_panel=_WORK,
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of the fits.", rich_help_panel=_WORK)]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        help="Threads. Default: one for each core, at most four.",
        rich_help_panel=_WORK,
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Continue a write of the same store that was stopped, with the same options; a new one starts if there is "
        "none.",
        rich_help_panel=_STORE,
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite", help="Replace what is there, once the new one is complete.", rich_help_panel=_STORE
    ),
]
Variable = Annotated[
    list[str] | None,
    typer.Option("--variable", metavar="NAME", help="Take only this variable; can be typed several times."),
]
