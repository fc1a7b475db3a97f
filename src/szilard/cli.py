"""What a person types. Heavy imports wait inside the commands, so that ``--help`` is instant."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from szilard import __version__
from szilard.errors import SzilardError


class Told(TyperGroup):
    """Turns what a person can mend into one sentence and exit code 2."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except SzilardError as error:
            _tell(str(error))
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            _tell("interrupted; what is on the disk is whole, and szilard fit goes on with --resume")
            raise typer.Exit(130) from None
        except BrokenPipeError:  # whoever read our output has gone
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            _tell(f"{where}{error.strerror or error}; check the path and the disk")
            raise typer.Exit(2) from None
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, MemoryError) or "memory" in str(error):
                _tell("there is not enough memory; try a smaller --batch-size or network")
                raise typer.Exit(2) from None
            raise


def _tell(sentence: str) -> None:
    if not int(os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or 0):  # several processes, one voice
        print(f"error: {sentence}", file=sys.stderr)


app = typer.Typer(
    cls=Told,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train PyTorch networks that are small from the first step and say how sure they are, and see what they cost.",
    epilog="Start with [bold]szilard fit --data digits[/bold]: it needs no download and takes about a minute.",
)

RunOrNetwork = Annotated[
    Path, typer.Argument(metavar="RUN_OR_NETWORK", help="A run folder, a method's folder in it, or a network.pt.")
]
DataRoot = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder of data sets. Default: $SZILARD_DATA or ~/.cache/szilard.", rich_help_panel="Data"),
]
Data = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="digits (the default; no download), mnist, fashion-mnist, kmnist, cifar10, cifar100, concrete, energy, "
        "power-plant, wine-quality-red, yacht, or your own FILE.csv or FILE.npz.",
        rich_help_panel="Data",
    ),
]
Target = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="Column of a CSV file to predict.", rich_help_panel="Data")
]
Split = Annotated[int | None, typer.Option(help="Which published split of a UCI set.", rich_help_panel="Data")]
Accelerator = Annotated[str, typer.Option(help="auto (a GPU if there is one), cpu, cuda or mps.", rich_help_panel="Device")]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"szilard {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    pass


@app.command(
    epilog="[bold]Examples[/bold]\n\n"
    "szilard fit --data digits\n\n"
    "szilard fit --data table.csv --target price --density 0.2 --out runs/price\n\n"
    "szilard fit --data fashion-mnist --data-root ~/data --n-train 2000 --out runs/small\n\n"
    "szilard fit --network network.py:build --data arrays.npz --option every=50\n\n"
    "szilard fit runs/small/run.toml --out runs/again\n\n"
    "szilard fit --out runs/small --resume\n\n"
    "torchrun --nproc-per-node 2 -m szilard fit --data digits"
)
def fit(
    run_toml: Annotated[
        Path | None, typer.Argument(metavar="[RUN.TOML]", help="Do this run again; options given beside it prevail.")
    ] = None,
    data: Data = None,
    data_root: DataRoot = None,
    target: Target = None,
    split: Split = None,
    n_train: Annotated[int | None, typer.Option(help="Keep so many training examples.", rich_help_panel="Data")] = None,
    data_seed: Annotated[
        int | None, typer.Option(help="Seed of who is in train, valid and test.", rich_help_panel="Data")
    ] = None,
    ood: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Inputs of other origin, to test doubt on; or none.", rich_help_panel="Data"),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="classification or regression, where a file leaves it open.", rich_help_panel="Data")
    ] = None,
    drop_constant: Annotated[
        bool | None, typer.Option("--drop-constant", help="Leave out constant columns.", rich_help_panel="Data")
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch a missing set (needs torchvision).", rich_help_panel="Data")
    ] = False,
    network: Annotated[
        str | None,
        typer.Option(
            metavar="SPEC",
            help="mlp, mlp:256,128, lenet5, resnet20, or your own FILE.py:FUNCTION.",
            rich_help_panel="Network and method",
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="ssvi (the default), mean-field, deterministic, sparse-deterministic or ssvi-published. Repeat for more.",
            rich_help_panel="Network and method",
        ),
    ] = None,
    density: Annotated[
        float | None, typer.Option(help="Fraction of weights that exist.", rich_help_panel="Network and method")
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(help="T, how much the divergence counts; 1 is Bayes' rule.", rich_help_panel="Network and method"),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option", "-p", metavar="KEY=VALUE", help="Any other option of the method. Repeat for more.",
            rich_help_panel="Network and method",
        ),
    ] = None,
    baselines: Annotated[
        bool | None,
        typer.Option(
            "--baselines/--no-baselines",
            help="Train deterministic and mean-field beside it (the default).",
            rich_help_panel="Network and method",
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Default: by the size of the data.", rich_help_panel="Training")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Of one process.", rich_help_panel="Training")] = None,
    lr: Annotated[
        float | None, typer.Option(help="Initial learning rate. Default: the method's.", rich_help_panel="Training")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, order and noise.", rich_help_panel="Training")] = None,
    samples: Annotated[
        int | None, typer.Option(help="Draws behind each prediction (32).", rich_help_panel="Training")
    ] = None,
    augment: Annotated[
        str | None, typer.Option(help="crop-flip, for photographs.", rich_help_panel="Training")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Run folder. Default: runs/NAME.", rich_help_panel="Run folder")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out, if there is one.", rich_help_panel="Run folder")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the run in --out.", rich_help_panel="Run folder")
    ] = False,
    checkpoint_steps: Annotated[
        int | None, typer.Option(help="Also write a checkpoint every so many steps.", rich_help_panel="Run folder")
    ] = None,
    checkpoint_seconds: Annotated[
        float | None, typer.Option(help="Write a checkpoint every so many seconds (30).", rich_help_panel="Run folder")
    ] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write TensorBoard events as well.", rich_help_panel="Run folder")
    ] = False,
    accelerator: Accelerator = "auto",
    devices: Annotated[str, typer.Option(help="How many; more than one start as many processes.", rich_help_panel="Device")] = "auto",
    strategy: Annotated[str, typer.Option(help="auto or ddp.", rich_help_panel="Device")] = "auto",
    precision: Annotated[
        str | None, typer.Option(help="32-true, bf16-mixed or 16-mixed.", rich_help_panel="Device")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No bar and no table.")] = False,
) -> None:
    """Train a sparse Bayesian network beside its baselines; print and plot quality x cost."""
    from szilard._cli import fit as command

    given = command.Given(
        data={
            "name": data, "root": None if data_root is None else str(data_root), "target": target, "split": split,
            "n_train": n_train, "seed": data_seed, "ood": ood, "task": task, "drop_constant": drop_constant,
        },
        network={"spec": network},
        fit={
            "epochs": epochs, "batch_size": batch_size, "lr": lr, "seed": seed, "samples": samples, "augment": augment,
            "precision": precision, "checkpoint_steps": checkpoint_steps, "checkpoint_seconds": checkpoint_seconds,
        },
        methods=method or [], density=density, temperature=temperature, options=option or [], baselines=baselines,
    )  # fmt: skip
    command.fit(
        run_toml, given, out, resume=resume, overwrite=overwrite, download=download, tensorboard=tensorboard,
        accelerator=accelerator, devices=devices, strategy=strategy, quiet=quiet,
    )  # fmt: skip


@app.command(
    epilog="[bold]Examples[/bold]\n\n"
    "szilard measure runs/digits\n\n"
    "szilard measure runs/digits/ssvi/network.pt --samples 100 --json\n\n"
    "szilard measure weights.pt --network network.py:build --data arrays.npz"
)
def measure(
    target_path: RunOrNetwork,
    data: Data = None,
    data_root: DataRoot = None,
    target: Target = None,
    split: Split = None,
    network: Annotated[
        str | None,
        typer.Option(metavar="SPEC", help="How to build the network of a plain state dict, as in szilard fit."),
    ] = None,
    samples: Annotated[int, typer.Option(help="Draws behind each prediction.")] = 32,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """See how good a finished network is, and what it costs. Also for a plain PyTorch state dict."""
    from szilard._cli import measure as command

    given = {"name": data, "root": None if data_root is None else str(data_root), "target": target, "split": split}
    command.measure(target_path, given, network, samples=samples, seed=seed, as_json=json)


@app.command(
    epilog="[bold]Examples[/bold]\n\n"
    "szilard predict runs/price new.csv -o predictions.csv\n\n"
    "szilard predict runs/digits new.npz -o predictions.csv\n\n"
    "szilard predict runs/digits digits -o on-the-test-set.csv"
)
def predict(
    target_path: RunOrNetwork,
    inputs: Annotated[
        str, typer.Argument(metavar="INPUT", help="FILE.npz (array x), FILE.csv (the columns it was trained on), or a data set's name for its test part.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE.csv", help="Where to write; without it, standard output.")
    ] = None,
    method: Annotated[str | None, typer.Option(help="Which network of the run. Default: its first method's.")] = None,
    data_root: DataRoot = None,
    network: Annotated[
        str | None, typer.Option(metavar="SPEC", help="How to build the network, if its file has moved.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Draws behind each prediction.")] = 32,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
) -> None:
    """Ask a network: answer, probability and doubt for every input.

    Entropy and its two parts are in nats. Aleatoric: the data do not say. Epistemic: the network has not seen enough.
    """
    from szilard._cli import predict as command

    command.predict(
        target_path, inputs, out, method=method, data_root=data_root, network=network, samples=samples, seed=seed
    )


@app.command(epilog="[bold]Example[/bold]\n\nszilard report runs/digits runs/longer")
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders.")],
) -> None:
    """Write report.html of each run again, and print them side by side."""
    from szilard._cli import report as command

    command.report(runs)


def main() -> None:
    """The ``szilard`` command."""
    app()


if __name__ == "__main__":
    main()
