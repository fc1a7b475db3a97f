"""Options of ``szilard compress --search galen``: channels and bits of every layer, for a cost on a runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_SEARCH = "Channels and bits of every layer"

Search = Annotated[
    str | None,
    typer.Option(
        "--search",
        metavar="NAME",
        help="galen: find channels and bits of every layer, so that a network that really is smaller meets a "
        "target on a runtime.",
        rich_help_panel=_SEARCH,
    ),
]
TargetLatency = Annotated[
    str | None,
    typer.Option(
        metavar="SHARE|TIME",
        help="Time of one inference in ONNX Runtime, measured: 0.4 of the original's, or 1.5ms. Writes a .onnx file.",
        rich_help_panel=_SEARCH,
    ),
]
TargetEnergy = Annotated[
    str | None,
    typer.Option(
        metavar="SHARE|ENERGY",
        help="Energy of one inference, estimated: 0.5 of the original's, or 3uJ. Writes a .onnx file.",
        rich_help_panel=_SEARCH,
    ),
]
TargetBytes = Annotated[
    str | None,
    typer.Option(
        metavar="SHARE|BYTES",
        help="Size of the file: 0.5 of the original's, 20000, or 20kB. Writes a .szd file.",
        rich_help_panel=_SEARCH,
    ),
]
Searcher = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="How policies are proposed: evolution, agent (DDPG), random or greedy (evolution).",
        rich_help_panel=_SEARCH,
    ),
]
Evaluations = Annotated[
    int | None,
    typer.Option(metavar="N", help="How many policies are tried (200).", rich_help_panel=_SEARCH),
]
Finetune = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Passes over the training split that the smaller network is trained for (0).",
        rich_help_panel=_SEARCH,
    ),
]
Policy = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.toml",
        help="Use this policy and do not search. A search writes one beside its network.",
        rich_help_panel=_SEARCH,
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(metavar="N", help="Threads of the runtime (1).", rich_help_panel=_SEARCH),
]
Noisy = Annotated[
    bool,
    typer.Option(
        "--noisy",
        help="Go on if the machine is too noisy to measure on; a note says so.",
        rich_help_panel=_SEARCH,
    ),
]
Folder = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Folder of the history, from which a search that was stopped continues.",
        rich_help_panel=_SEARCH,
    ),
]
Sensitivity = Annotated[
    bool,
    typer.Option(
        "--sensitivity",
        help="Instead, measure how much half of the channels and 8 bits of each layer change the predictions, on "
        "inputs of the training split.",
    ),
]
