"""Options that name the data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_DATA = "Data"

Data = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Data set: digits (default; no download), mnist, fashion-mnist, kmnist, cifar10, cifar100, concrete, "
        "energy, power-plant, wine-quality-red, yacht, or your own FILE.csv or FILE.npz.",
        rich_help_panel=_DATA,
    ),
]
EvaluationData = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="NAME",
        help="Labelled data to evaluate the network on: a data set of szilard fit, FILE.csv or FILE.npz. Default: the "
        "data that it was trained on.",
        rich_help_panel=_DATA,
    ),
]
LabelledData = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="NAME",
        help="With --network: labelled data, from which szilard finds the units of the network's inputs.",
        rich_help_panel=_DATA,
    ),
]
DataRoot = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Folder with the data sets. Default: $SZILARD_DATA or ~/.cache/szilard.",
        rich_help_panel=_DATA,
    ),
]
Target = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="COLUMN",
        help="Column of a CSV file to predict; separate several columns with commas.",
        rich_help_panel=_DATA,
    ),
]
Split = Annotated[
    int | None, typer.Option(help="Number of the published split of a UCI data set.", rich_help_panel=_DATA)
]
NTrain = Annotated[
    int | None, typer.Option(help="Use only this many training examples.", rich_help_panel=_DATA)
]
DataSeed = Annotated[
    int | None, typer.Option(help="Seed of the train/validation/test split.", rich_help_panel=_DATA)
]
Ood = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Out-of-distribution inputs for the uncertainty test: name of a data set, or none.",
        rich_help_panel=_DATA,
    ),
]
Task = Annotated[
    str | None,
    typer.Option(
        help="classification, multilabel or regression, if the file does not tell.", rich_help_panel=_DATA
    ),
]
TaskOfOutputs = Annotated[
    str | None,
    typer.Option(
        "--task",
        metavar="TASK",
        help="What the outputs mean: classification, multilabel, regression or embedding. Default: found from the "
        "data.",
        rich_help_panel=_DATA,
    ),
]
DropConstant = Annotated[
    bool | None, typer.Option("--drop-constant", help="Leave out constant columns.", rich_help_panel=_DATA)
]
Download = Annotated[
    bool,
    typer.Option(
        "--download", help="Download a missing data set (needs torchvision).", rich_help_panel=_DATA
    ),
]
Mean = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,C",
        help="Normalise inputs as (x - mean) / std, with numbers as in the file and bytes divided by 255: one number, "
        "or one for each channel or column. Default: mean and standard deviation of the training split, or no "
        "normalisation, whichever gives the better score.",
        rich_help_panel=_DATA,
    ),
]
Std = Annotated[
    str | None,
    typer.Option(metavar="A,B,C", help="Standard deviation; see --mean.", rich_help_panel=_DATA),
]
