"""``szilard fit``."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from szilard.cli.options import data as d
from szilard.cli.options import network as n
from szilard.cli.options import output as o
from szilard.cli.options import tables as t
from szilard.cli.options import training as r

if TYPE_CHECKING:
    from szilard.data import DataSet
    from szilard.run.settings import DataSettings

GROUP = "Train"
EXAMPLES = (
    "szilard fit --data digits",
    "szilard fit --data table.csv --target price --density 0.2 --out runs/price",
    "szilard fit --data table.csv --target height,weight --out runs/body",
    "szilard fit --data fashion-mnist --data-root ~/data --n-train 2000 --out runs/small",
    "szilard fit --network network.py:build --data arrays.npz --option every=50",
    "szilard fit --data few.npz --prior runs/small --out runs/few",
    "szilard fit runs/small/run.toml --out runs/again",
    "szilard fit --out runs/small --resume",
    "torchrun --nproc-per-node 2 -m szilard fit --data digits",
)

RunToml = Annotated[
    Path | None,
    typer.Argument(
        metavar="[RUN.TOML]", help="Repeat the run of this file; options on the command line take precedence."
    ),
]


def fit(
    run_toml: RunToml = None,
    data: d.Data = None,
    data_root: d.DataRoot = None,
    target: d.Target = None,
    split: d.Split = None,
    n_train: d.NTrain = None,
    data_seed: d.DataSeed = None,
    ood: d.Ood = None,
    task: d.Task = None,
    drop_constant: d.DropConstant = None,
    ignore: t.Ignore = None,
    missing: t.Missing = None,
    date: t.Date = None,
    group: t.Group = None,
    time: t.Time = None,
    decimal: t.Decimal = None,
    categorical: t.Categorical = None,
    class_weights: t.ClassWeights = None,
    download: d.Download = False,
    network: n.Network = None,
    trust: n.Trust = False,
    method: n.Methods = None,
    density: n.Density = None,
    temperature: n.Temperature = None,
    option: n.MethodOptions = None,
    baselines: n.Baselines = None,
    prior: n.Prior = None,
    epochs: r.Epochs = None,
    batch_size: r.BatchSize = None,
    lr: r.LearningRate = None,
    seed: r.Seed = None,
    samples: r.Samples = None,
    augment: r.Augment = None,
    out: r.Out = None,
    resume: r.Resume = False,
    overwrite: r.Overwrite = False,
    checkpoint_steps: r.CheckpointSteps = None,
    checkpoint_seconds: r.CheckpointSeconds = None,
    tensorboard: r.TensorBoard = False,
    accelerator: r.Accelerator = "auto",
    devices: r.Devices = "auto",
    strategy: r.Strategy = "auto",
    precision: r.Precision = None,
    quiet: o.Quiet = False,
    json: o.Json = False,
    wide: o.Wide = False,
) -> None:
    """Train a sparse Bayesian network and its baselines; print and plot their quality and cost."""
    from szilard.cli import fit_prior, fit_settings
    from szilard.errors import SzilardError
    from szilard.training.run import hold, run

    options = fit_settings.FitOptions(
        data={
            "name": data, "root": None if data_root is None else str(data_root), "target": target, "split": split,
            "n_train": n_train, "seed": data_seed, "ood": ood, "task": task, "drop_constant": drop_constant,
            "ignore": ignore or None, "missing": missing, "date": date or None, "group": group, "time": time,
            "decimal": decimal, "categorical": categorical or None,
        },
        network={"spec": network},
        fit={
            "epochs": epochs, "batch_size": batch_size, "lr": lr, "seed": seed, "samples": samples, "augment": augment,
            "precision": precision, "class_weights": class_weights,
            "checkpoint_steps": checkpoint_steps, "checkpoint_seconds": checkpoint_seconds,
        },
        methods=method or [], density=density, temperature=temperature, options=option or [], baselines=baselines,
        prior=prior,
    )  # fmt: skip
    if resume and out is None and run_toml is not None and run_toml.name == "run.toml":
        out = run_toml.parent
    if resume and out is None:
        raise SzilardError("--resume goes on with the run in a folder; name it with --out")
    with ExitStack() as held:
        if out is not None:  # before anything in it is read
            held.enter_context(hold(out))
        resumed = out if resume else None
        settings = fit_settings.read(run_toml, options, resumed, trusted=trust)
        settings, source = fit_prior.read(settings, options, run_toml, resumed, trusted=trust)
        out = out or Path("runs") / Path(settings.data.name).stem
        held.enter_context(hold(out))
        fabric = run(
            settings, out, resume=resume, overwrite=overwrite, accelerator=accelerator, devices=devices,
            strategy=strategy, download=download, tensorboard=tensorboard, progress=not (quiet or json),
            described=None if quiet or json else lambda found: _describe(found, settings.data), prior=source,
        )  # fmt: skip
        if fabric.global_rank == 0:
            _show(out, quiet, json, wide)


def _describe(data: DataSet, settings: DataSettings) -> None:
    """Print one line on how a user's own file is read; nothing for a known data set."""
    from szilard.cli.messages import notifier
    from szilard.cli.network_data import TABLES
    from szilard.errors import printable

    if Path(settings.name).suffix.lower() not in (*TABLES, ".npz"):
        return
    sizes = [len(part) for part in (data.train, data.valid, data.test)]
    parts = f"{sizes[0]:,} train, {sizes[1]:,} valid, {sizes[2]:,} test"
    column = settings.group or settings.time
    by = f", split by {column}" if column else ""
    what: str = data.task
    if data.classes:
        what += f" with {len(data.classes):,} classes"
        numbers = len(data.classes) > 2 and all(name.lstrip("-").isdecimal() for name in data.classes)
        what += " (--task regression predicts them as numbers)" if numbers and data.feature_names else ""
    inputs = (
        f"{len(data.feature_names):,} feature{'s' * (len(data.feature_names) > 1)}"
        if data.feature_names
        else f"inputs {list(data.input_shape)}"
    )
    notifier()(printable(f"{data.name}: {sum(sizes):,} examples ({parts}{by}), {inputs}; {what}", 400))


def _show(out: Path, quiet: bool, as_json: bool, wide: bool) -> None:
    """Write the report of a run that has ended, and print its table."""
    import shlex

    from szilard import atomic, report
    from szilard.cli import chain_verdicts, detail_tables, figures, output, prior_table
    from szilard.errors import printable
    from szilard.run.folder import RunFolder

    runs = [out, *(control.path for control in RunFolder(out).controls)]
    try:
        written = report.write(out)
        if as_json:
            rows, title = figures.of_runs(runs)
            told: dict[str, Any] = {"prior": {str(out): found}} if (found := prior_table.of_run(out)) else {}
            if chains := chain_verdicts.of_run(out):
                told["chains"] = {str(out): chains}
            output.as_json(
                {"run": str(out), "report": str(written), "judged": title, "networks": rows} | told
            )
            return
        if not quiet:
            detail_tables.show(figures.show(runs, wide=wide), wide=wide, elsewhere=figures.ELSEWHERE)
            prior_table.show(out, wide=wide)
            chain_verdicts.show(out)
        output.say(printable(str(written)))
    except KeyboardInterrupt as stop:
        folder = RunFolder(out)
        stop.args = (folder.how_to_continue(folder.command()),)
        raise
    except atomic.NotWritten as error:
        raise error.advised(f"write it with {shlex.join(['szilard', 'report', str(out)])}") from error
