"""Options that say what is printed."""

from __future__ import annotations

from typing import Annotated

import typer

_PREDICTIONS = "Predictions"

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress bar and no table.")]
Wide = Annotated[
    bool, typer.Option("--wide", help="Print all columns of a table, even if the terminal is narrower.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Samples = Annotated[
    int,
    typer.Option("--samples", help="Weight samples for each prediction.", rich_help_panel=_PREDICTIONS),
]
SamplesOrOnePass = Annotated[
    int | None,
    typer.Option("--samples", help="Weight samples for each prediction (32).", rich_help_panel=_PREDICTIONS),
]
OnePass = Annotated[
    bool,
    typer.Option(
        "--one-pass",
        help="Compute the uncertainty in one pass, without samples.",
        rich_help_panel=_PREDICTIONS,
    ),
]
Seed = Annotated[
    int, typer.Option("--seed", help="Seed of the weight samples.", rich_help_panel=_PREDICTIONS)
]
