"""What a person types. Heavy imports wait inside the commands, so that ``--help`` is instant."""

from __future__ import annotations

import io
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from szilard import interrupts
from szilard.cli import options as o
from szilard.cli import options_compress as oc
from szilard.cli import table_options as t
from szilard.cli.commands import methods
from szilard.cli.output import Command
from szilard.cli.told import Told, format_warning
from szilard.errors import SzilardError
from szilard.version import __version__

if TYPE_CHECKING:
    from szilard.cli.case import Request

app = typer.Typer(
    cls=Told,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train PyTorch networks that are small from the first step and say how sure they are, see what they cost, and "
    "put trained networks into one small file.",
    epilog="Start with [bold]szilard fit --data digits[/bold]: it needs no download and takes about a minute.",
)


def _request(
    path: Path,
    data: str | None,
    data_root: Path | None,
    target: str | None,
    split: int | None,
    task: str | None,
    mean: str | None,
    std: str | None,
    network: str | None,
    key: str | None,
    trust: bool,
) -> Request:
    """What was typed of a network and of its data."""
    from szilard.cli.case import Request
    from szilard.cli.channels import Normalisation

    root = None if data_root is None else str(data_root)
    given = {"name": data, "root": root, "target": target, "split": split}
    return Request(path, given, network, key, trust, task, Normalisation(mean, std))


def _examples(*lines: str) -> str:
    return "\n\n".join(["[bold]Examples[/bold]", *lines])


def _version(wanted: bool) -> None:
    if wanted:
        from szilard.kernels import dispatch

        try:
            kernels = dispatch.describe()
        except SzilardError as error:
            kernels = f"none; {error}"
        print(f"szilard {__version__} (kernels: {kernels})")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Print the version, and which kernels run."
        ),
    ] = False,
) -> None:
    pass


@app.command(
    cls=Command,
    epilog=_examples(
        "szilard fit --data digits",
        "szilard fit --data table.csv --target price --density 0.2 --out runs/price",
        "szilard fit --data table.csv --target height,weight --out runs/body",
        "szilard fit --data fashion-mnist --data-root ~/data --n-train 2000 --out runs/small",
        "szilard fit --network network.py:build --data arrays.npz --option every=50",
        "szilard fit runs/small/run.toml --out runs/again",
        "szilard fit --out runs/small --resume",
        "torchrun --nproc-per-node 2 -m szilard fit --data digits",
    ),
)
def fit(
    run_toml: o.RunToml = None,
    data: o.Data = None,
    data_root: o.DataRoot = None,
    target: o.Targets = None,
    split: o.Split = None,
    n_train: o.NTrain = None,
    data_seed: o.DataSeed = None,
    ood: o.Ood = None,
    task: o.Task = None,
    drop_constant: o.DropConstant = None,
    ignore: t.Ignore = None,
    missing: t.Missing = None,
    date: t.Date = None,
    group: t.Group = None,
    time: t.Time = None,
    decimal: t.Decimal = None,
    categorical: t.Categorical = None,
    class_weights: t.ClassWeights = None,
    download: o.Download = False,
    network: o.Network = None,
    trust: o.Trust = False,
    method: o.Methods = None,
    density: o.Density = None,
    temperature: o.Temperature = None,
    option: o.Options = None,
    baselines: o.Baselines = None,
    epochs: o.Epochs = None,
    batch_size: o.BatchSize = None,
    lr: o.LearningRate = None,
    seed: o.Seed = None,
    samples: o.Samples = None,
    augment: o.Augment = None,
    out: o.Out = None,
    resume: o.Resume = False,
    overwrite: o.Overwrite = False,
    checkpoint_steps: o.CheckpointSteps = None,
    checkpoint_seconds: o.CheckpointSeconds = None,
    tensorboard: o.TensorBoard = False,
    accelerator: o.Accelerator = "auto",
    devices: o.Devices = "auto",
    strategy: o.Strategy = "auto",
    precision: o.Precision = None,
    quiet: o.Quiet = False,
    json: o.Json = False,
    wide: o.Wide = False,
) -> None:
    """Train a sparse Bayesian network beside its baselines; print and plot quality x cost."""
    from szilard.cli import fit as command

    given = command.Given(
        data={
            "name": data, "root": None if data_root is None else str(data_root), "target": target, "split": split,
            "n_train": n_train, "seed": data_seed, "ood": ood, "task": task, "drop_constant": drop_constant,
            **t.typed(ignore, missing, date, group, time, decimal, categorical),
        },
        network={"spec": network},
        fit={
            "epochs": epochs, "batch_size": batch_size, "lr": lr, "seed": seed, "samples": samples, "augment": augment,
            "precision": precision, "class_weights": class_weights,
            "checkpoint_steps": checkpoint_steps, "checkpoint_seconds": checkpoint_seconds,
        },
        methods=method or [], density=density, temperature=temperature, options=option or [], baselines=baselines,
    )  # fmt: skip
    command.fit(
        run_toml, given, out, resume=resume, overwrite=overwrite, download=download, tensorboard=tensorboard,
        accelerator=accelerator, devices=devices, strategy=strategy, trusted=trust, quiet=quiet,
        as_json=json, wide=wide,
    )  # fmt: skip


@app.command(
    cls=Command,
    epilog=_examples(
        "szilard measure runs/digits",
        "szilard measure runs/digits/ssvi/network.pt --samples 100 --json",
        "szilard measure weights.pt --network network.py:build --data arrays.npz",
    ),
)
def measure(
    path: o.RunOrNetwork,
    data: o.Data = None,
    data_root: o.DataRoot = None,
    target: o.Targets = None,
    split: o.Split = None,
    task: oc.TaskOfOutputs = None,
    mean: oc.Mean = None,
    std: oc.Std = None,
    network: o.NetworkOfFile = None,
    key: o.Key = None,
    trust: o.Trust = False,
    samples: o.Draws = 32,
    seed: o.DrawSeed = 0,
    json: o.Json = False,
    wide: o.Wide = False,
) -> None:
    """See how good a finished network is, and what it costs. Also for a plain PyTorch state dict."""
    from szilard.cli import measure as command

    request = _request(path, data, data_root, target, split, task, mean, std, network, key, trust)
    command.measure(request, samples=samples, seed=seed, as_json=json, wide=wide)


@app.command(
    cls=Command,
    epilog=_examples(
        "szilard predict runs/price new.csv -o predictions.csv",
        "szilard predict runs/digits new.npz -o predictions.csv",
        "szilard predict runs/digits digits --method deterministic",
        "szilard predict weights.pt new.csv --network network.py:build --data table.csv --target price",
    ),
)
def predict(
    path: o.RunOrNetwork,
    inputs: o.Inputs,
    out: o.Csv = None,
    method: o.MethodOfRun = None,
    data: o.LabelledData = None,
    data_root: o.DataRoot = None,
    target: o.Targets = None,
    split: o.Split = None,
    task: oc.TaskOfOutputs = None,
    mean: oc.Mean = None,
    std: oc.Std = None,
    network: o.NetworkOfFile = None,
    key: o.Key = None,
    trust: o.Trust = False,
    samples: o.Draws = 32,
    seed: o.DrawSeed = 0,
    json: o.Json = False,
) -> None:
    """Ask a network: answer, probability and doubt for every input.

    Entropy and its two parts are in nats. Aleatoric: the data do not say. Epistemic: the network has not seen enough.
    For a quantity: mean, and standard deviations in its units.
    """
    from szilard.cli import predict as command

    request = _request(path, data, data_root, target, split, task, mean, std, network, key, trust)
    asked = command.Asked(inputs, method, data_root, samples, seed)
    command.predict(request, asked, out, as_json=json)


@app.command(
    cls=Command, epilog=_examples("szilard report runs/digits", "szilard report runs/digits runs/longer")
)
def report(runs: o.Runs, json: o.Json = False, wide: o.Wide = False) -> None:
    """Write report.html of each run again, and print all of them side by side."""
    from szilard.cli import report as command

    command.report(runs, as_json=json, wide=wide)


@app.command(
    cls=Command,
    epilog=_examples(
        "szilard compress runs/digits",
        "szilard compress net.pt --network file.py:build --data cifar10 --max-drop 0.5 -o net.szd",
        "szilard compress net.pt --network file.py:build --data pictures.npz --max-bytes 20000",
        "szilard compress net.pt --network file.py:build --no-data",
    ),
)
def compress(
    path: oc.Weights,
    data: o.Data = None,
    data_root: o.DataRoot = None,
    target: o.Targets = None,
    split: o.Split = None,
    mean: oc.Mean = None,
    std: oc.Std = None,
    network: o.NetworkOfFile = None,
    key: o.Key = None,
    trust: o.Trust = False,
    method: o.MethodOfRun = None,
    max_drop: oc.MaxDrop = None,
    max_bytes: oc.MaxBytes = None,
    lam: oc.Lam = None,
    task: oc.TaskOfOutputs = None,
    confidence: oc.Confidence = 0.9,
    no_data: oc.WithoutData = False,
    input_shape: oc.InputShape = None,
    outputs: oc.Outputs = None,
    certificate: oc.Certified = False,
    seed: o.DrawSeed = 0,
    out: oc.Szd = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
    wide: o.Wide = False,
) -> None:
    """Put a trained network into one small file: the smallest that keeps its quality, or the best of a size.

    The file holds no code. Open it with szilard.load in Python, or with szilard measure and szilard predict.
    """
    from szilard.cli import compress as command

    request = _request(path, data, data_root, target, split, task, mean, std, network, key, trust)
    command.compress(
        request, command.Wish(max_drop, max_bytes, lam, task, confidence), out,
        method=method, without_data=no_data, shape=command.Shape(input_shape, outputs),
        certified=certificate, seed=seed, as_json=json, quiet=quiet, wide=wide,
    )  # fmt: skip


@app.command(
    cls=Command,
    epilog=_examples(
        "szilard convert net.szd net.safetensors",
        "szilard convert net.szd net.pt",
        "szilard convert checkpoint.ckpt net.szd --key state_dict",
    ),
)
def convert(path: o.Source, out: o.Written, key: o.Key = None, json: o.Json = False) -> None:
    """Write the tensors of a file as another kind of file, bit for bit: .szd, .safetensors or PyTorch's.

    Nothing in the file is run and nothing is rounded; what stays behind is told. To make a file small, use szilard
    compress.
    """
    from szilard.cli import convert as command

    command.convert(path, out, key=key, as_json=json)


@app.command(
    cls=Command,
    epilog=_examples(
        "szilard inspect net.szd", "szilard inspect net.szd --tensors --json", "szilard inspect checkpoint.pt"
    ),
)
def inspect(
    path: o.AnyWeights, tensors: o.Tensors = False, json: o.Json = False, wide: o.Wide = False
) -> None:
    """See what is in a .szd file and where its bytes are, without its network; or the tensors of another file."""
    from szilard.cli import inspect as command

    command.inspect(path, tensors=tensors, as_json=json, wide=wide)


@app.command(
    cls=Command,
    epilog=_examples(
        "szilard verify net.szd", "szilard verify net.szd --against runs/digits/ssvi/network.pt"
    ),
)
def verify(
    path: o.SzdFile, against: o.Against = None, key: o.Key = None, json: o.Json = False, wide: o.Wide = False
) -> None:
    """Check that a .szd file is whole and opens to the tensors that were written."""
    from szilard.cli import verify as command

    command.verify(path, against, key=key, as_json=json, wide=wide)


app.command(cls=Command, epilog=_examples(*methods.EXAMPLES))(methods.methods)


def main() -> None:
    """The ``szilard`` command."""
    interrupts.install()
    # Threads that wait for each other in a loop make small networks several times slower on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    warnings.filterwarnings("ignore", message="Sparse CSR tensor support|Sparse invariant checks")
    warnings.formatwarning = format_warning
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")  # a letter that a terminal has not is no reason to stop
    if os.environ.get("NO_COLOR"):
        os.environ["TERM"] = "dumb"  # neither colours nor other control characters, of Rich and of Typer
    app()


if __name__ == "__main__":
    main()
