"""Options and arguments of the command line, declared once; None means that nothing was typed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from szilard.cli.known_methods import MAIN, baselines, listed, names

_DATA, _METHOD, _TRAINING = "Data", "Network and method", "Training"
_RUN, _DEVICE, _ASKING = "Run folder", "Device", "Predictions"

RunOrNetwork = Annotated[
    Path,
    typer.Argument(
        metavar="RUN_OR_NETWORK",
        help="A run folder, a method's folder in it, or a file: network.pt, .szd, or weights with --network.",
    ),
]
SzdFile = Annotated[Path, typer.Argument(metavar="FILE.szd", help="A network in one file.")]
AnyWeights = Annotated[
    Path,
    typer.Argument(metavar="FILE", help="A network in one file; or a checkpoint, or a file of safetensors."),
]
Runs = Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders.")]
RunToml = Annotated[
    Path | None,
    typer.Argument(metavar="[RUN.TOML]", help="Do this run again; options typed beside it prevail."),
]
Inputs = Annotated[
    str,
    typer.Argument(
        metavar="INPUT",
        help="FILE.npz (array x), FILE.csv (with the columns of training), or a data set's name for its test part.",
    ),
]

# -- data ---------------------------------------------------------------------------------------------

Data = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="digits (the default; no download), mnist, fashion-mnist, kmnist, cifar10, cifar100, concrete, energy, "
        "power-plant, wine-quality-red, yacht, or your own FILE.csv or FILE.npz.",
        rich_help_panel=_DATA,
    ),
]
DataRoot = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Folder of data sets. Default: $SZILARD_DATA or ~/.cache/szilard.",
        rich_help_panel=_DATA,
    ),
]
Targets = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="COLUMN",
        help="Column of a CSV file that is predicted; several of them with commas.",
        rich_help_panel=_DATA,
    ),
]
LabelledData = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="NAME",
        help="For weights with --network: labelled data, which say in which units it takes inputs.",
        rich_help_panel=_DATA,
    ),
]
Split = Annotated[int | None, typer.Option(help="Which published split of a UCI set.", rich_help_panel=_DATA)]
NTrain = Annotated[int | None, typer.Option(help="Keep so many training examples.", rich_help_panel=_DATA)]
DataSeed = Annotated[
    int | None, typer.Option(help="Seed of who is in train, valid and test.", rich_help_panel=_DATA)
]
Ood = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Inputs of other origin, to test doubt on; or none.", rich_help_panel=_DATA
    ),
]
Task = Annotated[
    str | None,
    typer.Option(
        help="classification, multilabel or regression, where a file leaves it open.", rich_help_panel=_DATA
    ),
]
DropConstant = Annotated[
    bool | None, typer.Option("--drop-constant", help="Leave out constant columns.", rich_help_panel=_DATA)
]
Download = Annotated[
    bool, typer.Option("--download", help="Fetch a missing set (needs torchvision).", rich_help_panel=_DATA)
]

# -- network and method -------------------------------------------------------------------------------

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
        metavar="SPEC",
        help="How to build the network, for a plain state dict or where its file has moved: as in szilard fit.",
    ),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Run the Python file, and read the data, that the file names, though it was not written by you here.",
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        metavar="NAME",
        help="Which weights of a checkpoint that holds several: state_dict_ema, or model.teacher.",
    ),
]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help=f"{MAIN} (the default), {listed(names()[1:], 'or')}. Repeat for more; szilard methods says what they do.",
        rich_help_panel=_METHOD,
    ),
]
MethodOfRun = Annotated[
    str | None, typer.Option(metavar="NAME", help="Which network of the run. Default: its first method's.")
]
Density = Annotated[
    float | None, typer.Option(help="Fraction of weights that exist.", rich_help_panel=_METHOD)
]
Temperature = Annotated[
    float | None,
    typer.Option(
        help="T, how much the divergence counts; 1 is Bayes' rule. Also for baselines beside it that have one.",
        rich_help_panel=_METHOD,
    ),
]
Options = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        "-p",
        metavar="KEY=VALUE",
        help="Any other option of the method, as run.toml and szilard methods NAME name them. Repeat for more.",
        rich_help_panel=_METHOD,
    ),
]
Baselines = Annotated[
    bool | None,
    typer.Option(
        "--baselines/--no-baselines",
        help=f"Train {listed(baselines(), 'and')} beside it (the default).",
        rich_help_panel=_METHOD,
    ),
]

# -- training -----------------------------------------------------------------------------------------

Epochs = Annotated[
    int | None, typer.Option(help="Default: by the size of the data.", rich_help_panel=_TRAINING)
]
BatchSize = Annotated[
    int | None,
    typer.Option(help="Of one process. Default: by the size of the data.", rich_help_panel=_TRAINING),
]
LearningRate = Annotated[
    float | None,
    typer.Option(help="Initial learning rate. Default: the method's.", rich_help_panel=_TRAINING),
]
Seed = Annotated[int | None, typer.Option(help="Of weights, order and noise.", rich_help_panel=_TRAINING)]
Samples = Annotated[
    int | None, typer.Option(help="Draws behind each prediction (32).", rich_help_panel=_TRAINING)
]
Augment = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="crop-flip, for photographs.", rich_help_panel=_TRAINING),
]

# -- run folder ---------------------------------------------------------------------------------------

Out = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Run folder. Default: runs/NAME.", rich_help_panel=_RUN)
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with the run in --out, if there is one.", rich_help_panel=_RUN)
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace the run in --out.", rich_help_panel=_RUN)
]
CheckpointSteps = Annotated[
    int | None, typer.Option(help="Also write a checkpoint every so many steps.", rich_help_panel=_RUN)
]
CheckpointSeconds = Annotated[
    float | None, typer.Option(help="Write a checkpoint every so many seconds (30).", rich_help_panel=_RUN)
]
TensorBoard = Annotated[
    bool, typer.Option("--tensorboard", help="Write TensorBoard events as well.", rich_help_panel=_RUN)
]

# -- device -------------------------------------------------------------------------------------------

Accelerator = Annotated[
    str, typer.Option(help="auto (a GPU if there is one), cpu, cuda or mps.", rich_help_panel=_DEVICE)
]
Devices = Annotated[
    str, typer.Option(help="How many; each is a process. auto: one.", metavar="N", rich_help_panel=_DEVICE)
]
Strategy = Annotated[str, typer.Option(help="auto or ddp.", rich_help_panel=_DEVICE)]
Precision = Annotated[
    str | None, typer.Option(help="32-true (the default), bf16-mixed or 16-mixed.", rich_help_panel=_DEVICE)
]

# -- what is printed ----------------------------------------------------------------------------------

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No bar and no table.")]
Wide = Annotated[
    bool, typer.Option("--wide", help="Print all columns of a table, however wide the terminal is.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Csv = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="FILE.csv", help="Where to write; without it, standard output."),
]
Draws = Annotated[
    int, typer.Option("--samples", help="Draws behind each prediction.", rich_help_panel=_ASKING)
]
DrawSeed = Annotated[int, typer.Option("--seed", help="Of the draws.", rich_help_panel=_ASKING)]

# -- .szd files ---------------------------------------------------------------------------------------

Tensors = Annotated[
    bool, typer.Option("--tensors", help="Decode the streams, and give each tensor its part.")
]
Against = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Compare with another .szd file, a network.pt, a checkpoint or a .safetensors file.",
    ),
]

# -- conversion ---------------------------------------------------------------------------------------

Source = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="A .szd or .safetensors file, a network.pt, a state dict or checkpoint of PyTorch, a TorchScript archive.",
    ),
]
Written = Annotated[
    Path,
    typer.Argument(metavar="OUT", help="What to write, by the end of its name: .szd, .safetensors or .pt."),
]
