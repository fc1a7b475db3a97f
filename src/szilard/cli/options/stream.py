"""Options of ``szilard stream``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_STREAM, _FOLDER, _TABLE = "Stream", "Folder", "Tables (CSV files)"

Data = Annotated[
    Path,
    typer.Argument(metavar="FILE.csv", help="The rows, in the order in which they arrived."),
]
Target = Annotated[
    str | None,
    typer.Option(
        "--target", metavar="COLUMN", help="Column to predict: a class or a number.", rich_help_panel=_STREAM
    ),
]
Task = Annotated[
    str | None,
    typer.Option(
        "--task",
        metavar="TASK",
        help="classification or regression, if the column does not tell.",
        rich_help_panel=_STREAM,
    ),
]
Method = Annotated[
    str | None,
    typer.Option(
        "--method",
        metavar="NAME",
        help="How it forgets: bank (default; ten rates, mixed by recent evidence), vcl (never), temper or bf (at one "
        "rate), vbs or bocd (at changes, which they detect).",
        rich_help_panel=_STREAM,
    ),
]
Rate = Annotated[
    float | None,
    typer.Option(
        "--rate",
        metavar="R",
        help="With --method temper or bf: from 0 (forgets everything before each row) to 1 (forgets nothing); 0.98.",
        rich_help_panel=_STREAM,
    ),
]
Belief = Annotated[
    str | None,
    typer.Option(
        "--belief",
        metavar="KIND",
        help="full (default), or diagonal for many features.",
        rich_help_panel=_STREAM,
    ),
]
Controls = Annotated[
    bool | None,
    typer.Option(
        "--controls/--no-controls",
        help="Also compute persistence, always-temper, Bayesian forgetting and VCL, to compare with (default).",
        rich_help_panel=_STREAM,
    ),
]
Time = Annotated[
    str | None,
    typer.Option(
        "--time",
        metavar="COLUMN",
        help="Column of numbers or dates that must not fall from row to row. It is a feature only if --date names it, "
        "too.",
        rich_help_panel=_TABLE,
    ),
]
Strict = Annotated[
    bool | None,
    typer.Option(
        "--strict",
        help="Refuse missing cells. Default: rows without a feature are skipped, and rows without a target are "
        "predicted and not learned.",
        rich_help_panel=_TABLE,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="DIR", help="Folder. Default: runs/NAME.", rich_help_panel=_FOLDER),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Continue the stream in --out, if there is one: with the rest of its file, or with a file of later rows.",
        rich_help_panel=_FOLDER,
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace the stream in --out.", rich_help_panel=_FOLDER)
]
CheckpointRows = Annotated[
    int | None,
    typer.Option(
        "--checkpoint-rows",
        metavar="N",
        help="Save the state every N rows (1000).",
        rich_help_panel=_FOLDER,
    ),
]
