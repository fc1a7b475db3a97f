"""Options of compression: its goal, and what replaces data."""

from __future__ import annotations

from typing import Annotated

import typer

_GOAL, _WITHOUT_DATA = "Size and quality", "Without data"

MaxDrop = Annotated[
    float | None,
    typer.Option(
        metavar="POINTS",
        help="Largest loss of accuracy on the validation split, in percentage points (0.5).",
        rich_help_panel=_GOAL,
    ),
]
MaxBytes = Annotated[
    int | None, typer.Option(metavar="N", help="Largest size of the file.", rich_help_panel=_GOAL)
]
Lam = Annotated[
    float | None,
    typer.Option(
        "--lam",
        metavar="NATS",
        help="λ in nats per bit: how much the loss may rise for each bit that is saved.",
        rich_help_panel=_GOAL,
    ),
]
Confidence = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="Confidence that --max-drop also holds on other examples (0.9); 0: check the validation split only.",
        rich_help_panel=_GOAL,
    ),
]
Certificate = Annotated[
    bool,
    typer.Option(
        "--certificate",
        help="Print an upper bound of the error on unseen examples, which follows from the size of the file.",
    ),
]
NoData = Annotated[
    bool,
    typer.Option(
        "--no-data", help="Compress without data; the file is larger.", rich_help_panel=_WITHOUT_DATA
    ),
]
InputShape = Annotated[
    str | None,
    typer.Option(
        metavar="CxHxW", help="Shape of one input, if --network needs it.", rich_help_panel=_WITHOUT_DATA
    ),
]
Outputs = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Number of outputs, if --network needs it.", rich_help_panel=_WITHOUT_DATA
    ),
]
Seed = Annotated[
    int, typer.Option("--seed", help="Seed of weight samples and of the choice of training examples.")
]
