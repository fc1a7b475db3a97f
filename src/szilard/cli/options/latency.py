"""Options that measure how long one inference takes."""

from __future__ import annotations

from typing import Annotated

import typer

_LATENCY = "Latency"

Latency = Annotated[
    bool,
    typer.Option(
        "--latency",
        help="Also measure the seconds of one inference, in plain PyTorch on the CPU and in a fresh process.",
        rich_help_panel=_LATENCY,
    ),
]
OnePass = Annotated[
    bool,
    typer.Option(
        "--one-pass",
        help="Also compare predictions in one pass with those of mean weights and draws; with --latency, their time "
        "too. Saved in the run folder, for szilard report.",
        rich_help_panel=_LATENCY,
    ),
]
Batch = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="With --latency: examples in one inference (1).", rich_help_panel=_LATENCY
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(metavar="N", help="With --latency: number of threads (1).", rich_help_panel=_LATENCY),
]
ByLayer = Annotated[
    bool,
    typer.Option(
        "--by-layer", help="With --latency: also the seconds of each layer.", rich_help_panel=_LATENCY
    ),
]
Noisy = Annotated[
    bool,
    typer.Option(
        "--noisy",
        help="Print times of a machine that is too noisy, too; they are labelled.",
        rich_help_panel=_LATENCY,
    ),
]
