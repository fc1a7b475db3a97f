"""Options that say what the network is, and how it is trained."""

from __future__ import annotations

from typing import Annotated

import typer

from szilard.cli.known_methods import MAIN, baselines, listed, names

_METHOD = "Network and method"

Network = Annotated[
    str | None,
    typer.Option(
        metavar="SPEC",
        help="mlp, mlp:256,128, lenet5, resnet20, or your own FILE.py:FUNCTION.",
        rich_help_panel=_METHOD,
    ),
]
NetworkOfFile = Annotated[
    str | None,
    typer.Option(
        "--network",
        metavar="SPEC",
        help="How to build the network, as in szilard fit: for a plain state dict, or if its Python file has moved.",
    ),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Run the Python code and read the data that the file names, even if it was not written by you here.",
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        metavar="NAME",
        help="Which weights to take from a checkpoint that holds several: state_dict_ema, or model.teacher.",
    ),
]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help=f"{MAIN} (default), {listed(names()[1:], 'or')}. Repeat for more; szilard methods says what they do.",
        rich_help_panel=_METHOD,
    ),
]
MethodOfRun = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Which network of the run, by method. Default: the first method's."),
]
OneMethodOfRun = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Which network of the run, by method. Default: all of them."),
]
Density = Annotated[
    float | None,
    typer.Option(help="Fraction of the weights that exist; all others are zero.", rich_help_panel=_METHOD),
]
Temperature = Annotated[
    float | None,
    typer.Option(
        help="Temperature T, the factor of the KL divergence in the loss; 1 is Bayes' rule. Also applies to "
        "baselines that have one.",
        rich_help_panel=_METHOD,
    ),
]
MethodOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        "-p",
        metavar="KEY=VALUE",
        help="Any other option of the method, named as in run.toml and szilard methods NAME. Repeat for more.",
        rich_help_panel=_METHOD,
    ),
]
Prior = Annotated[
    str | None,
    typer.Option(
        "--prior",
        metavar="RUN",
        help="Start from the posterior of this run and use it as the prior. Folds of the training labels choose its "
        "width, T, and whether it is used; the same method without it, and fine-tuning, are trained beside it.",
        rich_help_panel=_METHOD,
    ),
]
Baselines = Annotated[
    bool | None,
    typer.Option(
        "--baselines/--no-baselines",
        help=f"Also train {listed(baselines(), 'and')}, to compare with (default).",
        rich_help_panel=_METHOD,
    ),
]
