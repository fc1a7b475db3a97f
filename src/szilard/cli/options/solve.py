"""Options of ``szilard solve``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_MODEL, _SEARCH = "Model", "Solver"

Dictionary = Annotated[
    Path | None,
    typer.Option(
        "--dictionary",
        metavar="FILE",
        help="The matrix A of b = A x, (measurements, codes), whose columns are the atoms: a .npy file, or a .npz file "
        "with one array. Not needed with a --solver that was kept with its matrix.",
        rich_help_panel=_MODEL,
    ),
]
Measurements = Annotated[
    Path,
    typer.Option(
        "--measurements",
        metavar="FILE",
        help="The measurements b, one sample a row: (samples, measurements).",
        rich_help_panel=_MODEL,
    ),
]
AtomsInRows = Annotated[
    bool,
    typer.Option(
        "--atoms-in-rows",
        help="The rows of --dictionary are the atoms, as in scikit-learn.",
        rich_help_panel=_MODEL,
    ),
]
Out = Annotated[
    Path,
    typer.Option(
        "--out",
        "-o",
        metavar="FILE.npz",
        help="Codes x, and for each sample its residual and whether it is certified.",
    ),
]
Algorithm = Annotated[
    str | None,
    typer.Option(
        "--algorithm",
        metavar="NAME",
        help="hyperlista (default), alista, omp, fista, continuation, ista.",
        rich_help_panel=_SEARCH,
    ),
]
Density = Annotated[
    float | None,
    typer.Option(
        "--density",
        help="Share of codes that are not zero, for tuning and training (0.1).",
        rich_help_panel=_SEARCH,
    ),
]
Snr = Annotated[
    float | None,
    typer.Option(
        "--snr",
        metavar="DB",
        help="Signal-to-noise ratio of the measurements in dB. Default: no noise.",
        rich_help_panel=_MODEL,
    ),
]
Noise = Annotated[
    float | None,
    typer.Option(
        "--noise",
        metavar="SIGMA",
        help="Standard deviation of the noise of a measurement, instead of --snr.",
        rich_help_panel=_MODEL,
    ),
]
Penalty = Annotated[
    float | None,
    typer.Option(
        "--penalty",
        metavar="LAMBDA",
        help="λ of ½‖b - A x‖² + λ‖x‖₁. ista, fista and continuation need it. With others it is for samples that they "
        "do not solve, and by default it follows from the noise.",
        rich_help_panel=_MODEL,
    ),
]
Layers = Annotated[
    int | None,
    typer.Option(
        "--layers",
        help="Layers or iterations; of omp, the most entries of a sample, beyond which none falls back.",
        rich_help_panel=_SEARCH,
    ),
]
Damping = Annotated[
    float | None,
    typer.Option(
        "--damping",
        help="Of the weight of hyperlista and alista, such as 1e-6, for a matrix whose rank is below its number of "
        "rows (0).",
        rich_help_panel=_SEARCH,
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of tuning and training.", rich_help_panel=_SEARCH)]
Kept = Annotated[
    Path | None,
    typer.Option(
        "--solver",
        metavar="FILE.szd",
        help="A solver kept by --keep: nothing is tuned or trained.",
        rich_help_panel=_SEARCH,
    ),
]
Keep = Annotated[
    Path | None,
    typer.Option(
        "--keep",
        metavar="FILE.szd",
        help="Keep the tuned or trained solver, for other measurements by the same matrix.",
        rich_help_panel=_SEARCH,
    ),
]
