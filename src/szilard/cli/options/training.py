"""Options of training: its length, its run folder, its devices."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_TRAINING, _RUN, _DEVICE = "Training", "Run folder", "Device"

Epochs = Annotated[
    int | None, typer.Option(help="Default: by the size of the data.", rich_help_panel=_TRAINING)
]
BatchSize = Annotated[
    int | None,
    typer.Option(help="For each process. Default: by the size of the data.", rich_help_panel=_TRAINING),
]
LearningRate = Annotated[
    float | None,
    typer.Option(help="Initial learning rate. Default: the method's.", rich_help_panel=_TRAINING),
]
Seed = Annotated[
    int | None,
    typer.Option(help="Seed of initial weights, batch order and noise.", rich_help_panel=_TRAINING),
]
Samples = Annotated[
    int | None, typer.Option(help="Weight samples for each prediction (32).", rich_help_panel=_TRAINING)
]
Augment = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="crop-flip, for photographs.", rich_help_panel=_TRAINING),
]

Out = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Run folder. Default: runs/NAME.", rich_help_panel=_RUN)
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Continue the run in --out, if there is one.", rich_help_panel=_RUN)
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace the run in --out.", rich_help_panel=_RUN)
]
CheckpointSteps = Annotated[
    int | None, typer.Option(help="Also write a checkpoint every this many steps.", rich_help_panel=_RUN)
]
CheckpointSeconds = Annotated[
    float | None, typer.Option(help="Write a checkpoint every this many seconds (30).", rich_help_panel=_RUN)
]
TensorBoard = Annotated[
    bool, typer.Option("--tensorboard", help="Also write TensorBoard events.", rich_help_panel=_RUN)
]

Accelerator = Annotated[
    str, typer.Option(help="auto (a GPU if there is one), cpu, cuda or mps.", rich_help_panel=_DEVICE)
]
Devices = Annotated[
    str, typer.Option(help="Number of devices, one process each.", metavar="N", rich_help_panel=_DEVICE)
]
Strategy = Annotated[str, typer.Option(help="auto or ddp.", rich_help_panel=_DEVICE)]
Precision = Annotated[
    str | None, typer.Option(help="32-true (default), bf16-mixed or 16-mixed.", rich_help_panel=_DEVICE)
]
