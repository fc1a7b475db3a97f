"""Options of the command line for compressing, and for weights of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_DATA, _GOAL, _UNKNOWN = "Data", "How small", "Without data"

Weights = Annotated[
    Path,
    typer.Argument(
        metavar="NETWORK",
        help="A run folder, a network.pt, or weights together with --network: a state dict or checkpoint of PyTorch, "
        "a .safetensors file, a TorchScript archive.",
    ),
]
MaxDrop = Annotated[
    float | None,
    typer.Option(
        metavar="POINTS",
        help="Percentage points of accuracy that may be lost on the validation part (0.5).",
        rich_help_panel=_GOAL,
    ),
]
MaxBytes = Annotated[
    int | None, typer.Option(metavar="N", help="The file must not be larger.", rich_help_panel=_GOAL)
]
Lam = Annotated[
    float | None,
    typer.Option("--lam", metavar="NATS", help="λ, nats of loss that a bit may cost.", rich_help_panel=_GOAL),
]
TaskOfOutputs = Annotated[
    str | None,
    typer.Option(
        "--task",
        metavar="TASK",
        help="What the outputs mean: classification, multilabel, regression or embedding; by default the data say.",
        rich_help_panel=_DATA,
    ),
]
Confidence = Annotated[
    float,
    typer.Option(
        metavar="SHARE",
        help="With which --max-drop is kept on other examples; 0: on the validation part alone.",
        rich_help_panel=_GOAL,
    ),
]
Certified = Annotated[
    bool,
    typer.Option("--certificate", help="Print what the size of the file promises about unseen examples."),
]
WithoutData = Annotated[
    bool,
    typer.Option("--no-data", help="Do without data; the file is larger.", rich_help_panel=_UNKNOWN),
]
InputShape = Annotated[
    str | None,
    typer.Option(metavar="CxHxW", help="Of one input, if --network wants it.", rich_help_panel=_UNKNOWN),
]
Outputs = Annotated[
    int | None,
    typer.Option(metavar="N", help="Of the network, if --network wants it.", rich_help_panel=_UNKNOWN),
]
Mean = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,C",
        help="Inputs are (x - mean) / std, with pixels in [0, 1]: one number, or one a channel or column. Default: "
        "standardised by the training part, or as they are, whichever the network is better on.",
        rich_help_panel=_DATA,
    ),
]
Std = Annotated[str | None, typer.Option(metavar="A,B,C", help="See --mean.", rich_help_panel=_DATA)]
Szd = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="FILE.szd", help="Default: beside the network.")
]
