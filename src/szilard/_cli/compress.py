"""``szilard compress``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from szilard import networks
from szilard._cli import output, source, target, weights
from szilard._cli.told import once
from szilard.compress import Compressed
from szilard.compress import compress as search
from szilard.compress.compress import CONFIDENCE
from szilard.compress.judge import Scores
from szilard.compress.progress import Progress
from szilard.compress.promise import check_confidence
from szilard.data import DataSet, Split
from szilard.errors import SzilardError, printable
from szilard.file.ledger import smaller
from szilard.likelihood import TASKS, Categorical
from szilard.likelihood.categorical import IGNORED
from szilard.training import finished as networks_on_disk
from szilard.training import units
from szilard.training.evaluate import judge, tells_mean_alone, with_noise
from szilard.training.finished import Finished

SAMPLES = 8  # draws of a Bayesian network, every time it is judged
EXAMPLES = 512


@dataclass(frozen=True)
class Wish:
    """What is typed of the goal: percentage points, bytes, nats per bit."""

    max_drop: float | None
    max_bytes: int | None
    lam: float | None
    task: str | None = None
    confidence: float = CONFIDENCE

    def check(self) -> None:
        check_confidence(self.confidence)
        if self.task is not None and self.task not in TASKS:
            raise SzilardError(f"--task is {printable(self.task)}; take one of {', '.join(TASKS)}")
        if sum(one is not None for one in (self.max_drop, self.max_bytes, self.lam)) > 1:
            raise SzilardError("give one of --max-drop, --max-bytes and --lam; the others follow from it")


@dataclass(frozen=True)
class Shape:
    """What is typed of a network whose data nobody has."""

    inputs: str | None
    outputs: int | None

    def parsed(self) -> tuple[int, ...] | None:
        if self.inputs is None:
            return None
        try:
            return tuple(int(side) for side in self.inputs.split("x"))
        except ValueError:
            raise SzilardError(f"--input-shape is {self.inputs!r}; write it like 3x32x32") from None


def compress(
    path: Path,
    given: dict[str, Any],
    network: str | None,
    wish: Wish,
    out: Path | None,
    *,
    method: str | None,
    key: str | None,
    trusted: bool,
    without_data: bool,
    shape: Shape,
    normalisation: tuple[str | None, str | None],
    certified: bool,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write a ``.szd`` file, and print what it cost."""
    wish.check()
    file = path if path.is_file() else target.finished(path, method)[0].network
    out = file.with_suffix(networks_on_disk.SUFFIX) if out is None else out
    if out.is_dir() or not out.absolute().parent.is_dir():
        what = "is a folder" if out.is_dir() else "is in a folder that does not exist"
        raise SzilardError(f"{out} {what}; name a file to write")
    if out.exists() and file.samefile(out):
        raise SzilardError(f"{out} is the network itself; name another file with --out")
    console = Console(stderr=True, quiet=quiet or as_json)
    if without_data and certified:
        raise SzilardError(
            "--certificate counts errors over training examples; give data instead of --no-data"
        )
    with output.told(out):
        if without_data:
            made, described = _without_data(file, network, key, trusted, shape, wish, seed, console)
        else:
            found, data, meta = _open(file, given, network, key, trusted, normalisation, console)
            if certified and (data.task != "classification" or data.is_dense):
                what = "a class for each pixel" if data.is_dense else "quantities"
                raise SzilardError(
                    f"--certificate is about shares of errors, and these data have {what}; leave it out"
                )
            made, described = _with_data(found, data, meta, wish, seed, console)
            if certified:
                described["certificate"] = _certificate(found, made, data, seed)
        made.save(out)
    rows = _figures(file, out, made, described)
    if as_json:
        print(json.dumps(rows, indent=2))
    elif not quiet:
        _print(rows, made)


def _open(
    file: Path,
    given: dict[str, Any],
    spec: str | None,
    key: str | None,
    trusted: bool,
    normalisation: tuple[str | None, str | None],
    console: Console,
) -> tuple[Finished, DataSet, dict[str, Any]]:
    if networks_on_disk.is_finished(file):
        found = networks_on_disk.load(file, spec, trusted=trusted, tell=once())
        return found, source.for_network(found, given, str(file)), {}
    if given["name"] is None:
        raise SzilardError(
            f"{file} does not say which data it is for; add --data, or --no-data for a larger file without"
        )
    data = _normalised(source.load({}, given, str(file)), *normalisation)
    built, meta = weights.network_of(
        file,
        spec,
        key,
        trusted,
        lambda named: networks.build(named, data.input_shape, data.n_outputs),
        lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True),
    )
    built.eval()
    networks.check_fits(built, data)
    data, said = units.fitted(built, data, told=any(one is not None for one in normalisation))
    if said is not None:
        console.print(said, markup=False, highlight=False, soft_wrap=True)
    stored = {key: value for key, value in given.items() if value is not None}
    return Finished.plain(built, data, network_spec=spec, source=stored), data, meta


def _normalised(data: DataSet, mean: str | None, std: str | None) -> DataSet:
    """The data set under the normalisation that a network was trained with, channel by channel."""
    if mean is None and std is None:
        return data
    shift, scale = (_channels(text, data, name) for text, name in ((mean, "--mean"), (std, "--std")))
    return data.renormalised(shift, scale)


def _channels(text: str | None, data: DataSet, name: str) -> torch.Tensor:
    if text is None:
        raise SzilardError("give --mean and --std together, each as numbers with commas")
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        raise SzilardError(f"{name} is {text!r}; write numbers with commas, like 0.5,0.5,0.5") from None
    if len(values) not in (1, data.input_shape[0]):
        raise SzilardError(
            f"{name} has {len(values)} numbers; give one, or one for each of {data.input_shape[0]}"
        )
    if name == "--std" and min(values) <= 0:
        raise SzilardError(f"--std must be positive, and is {text}")
    return torch.tensor(values).expand(data.input_shape[0]).reshape(-1, *[1] * (len(data.input_shape) - 1))


def _with_data(
    found: Finished, data: DataSet, meta: dict[str, Any], wish: Wish, seed: int, console: Console
) -> tuple[Compressed, dict[str, Any]]:
    if wish.task not in (None, data.task):
        raise SzilardError(f"--task is {wish.task}, and the data are for {data.task}; leave --task out")

    alone = data.task == "regression" and tells_mean_alone(found.network, data)

    def values(network: nn.Module, split: Split) -> Scores:
        network = with_noise(network, data) if alone else network
        believed = judge(found.method, network, data, split, samples=SAMPLES, seed=seed, ood=False)[1]
        if data.is_dense:
            told = Categorical(probabilities=True, ignore=IGNORED)
            right, given = (each(believed.mean, split.y) for each in (told.values, told.sureness))
            return Scores(float(right.mean()), right, given, told.guessing(split.y))
        if data.task == "classification":
            right = (believed.labels == split.y).double()
            given = believed.mean.double().gather(1, split.y[:, None])[:, 0]
            guessing = Categorical().guessing(split.y)
            return Scores(float(right.mean()), right, given, guessing)
        each = 1 - (believed.mean - split.y).square().double() / split.y.double().var()
        return Scores(float(each.mean()), each, None, 0.0, relative=True)

    def score(network: nn.Module, split: Split) -> float:
        return values(network, split).score

    # Any order of the examples will do, but not one by class.
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(seed))[:EXAMPLES]
    with Progress.on(console) as progress:
        made = search(
            found.network,
            data.train.x[order],
            max_drop=None if wish.max_drop is None else wish.max_drop / 100,
            max_bytes=wish.max_bytes,
            lam=wish.lam,
            evaluate=lambda network: values(network, data.valid),
            task=data.task,
            confidence=wish.confidence,
            seed=seed,
            meta=networks_on_disk.to_meta(found) | meta,
            progress=progress,
        )
        before, after = score(found.network, data.test), score(made.network, data.test)
    measure = "accuracy" if data.task == "classification" else "explained variance"
    return made, {
        "task": f"{data.task}, judged by {measure} on valid (the data say so)",
        "drop": made.drop,
        "drop_se": made.drop_se,
        "judged_on": made.judged_on,
        "confidence": wish.confidence,
        "data": data.name,
        "measure": measure,
        "valid_before": made.original_score,
        "valid_after": made.score,
        "test_before": before,
        "test_after": after,
    }


def _without_data(
    file: Path,
    spec: str | None,
    key: str | None,
    trusted: bool,
    shape: Shape,
    wish: Wish,
    seed: int,
    console: Console,
) -> tuple[Compressed, dict[str, Any]]:
    if wish.max_drop is not None:
        raise SzilardError(
            "--max-drop needs data to judge by; give --max-bytes or --lam, or data instead of --no-data"
        )
    inputs = shape.parsed()
    meta: dict[str, Any] = {}
    if networks_on_disk.is_finished(file):
        found = networks_on_disk.load(file, spec, trusted=trusted, tell=once())
        network, inputs, meta = found.network, found.input_shape, networks_on_disk.to_meta(found)
    else:
        network, meta = weights.network_of(
            file,
            spec,
            key,
            trusted,
            lambda named: networks.build_for(named, inputs, shape.outputs),
            lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True),
        )
    with Progress.on(console) as progress:
        made = search(
            network, max_bytes=wish.max_bytes, lam=wish.lam, input_shape=inputs, seed=seed, meta=meta,
            task=wish.task, progress=progress,
        )  # fmt: skip
    return made, {}


def _certificate(found: Finished, made: Compressed, data: DataSet, seed: int) -> str:
    """What the size of the file promises, with its assumptions."""
    quality, _, _ = judge(found.method, made.network, data, data.train, samples=SAMPLES, seed=seed, ood=False)
    n = len(data.train)
    return str(made.certificate(round((1 - quality["accuracy"]) * n), n))


def _figures(file: Path, out: Path, made: Compressed, described: dict[str, Any]) -> dict[str, Any]:
    return {
        "network": str(file),
        "file": str(out),
        "bytes": len(made.data),
        "tensor_bytes": made.original_bytes,
        "ratio": made.ratio,
        "lam": made.lam,
        "seconds": made.seconds,
        **described,
        "notes": made.notes,
        "trials": [dict(zip(("lam", "bytes", "score"), trial, strict=True)) for trial in made.trials],
    }


def _print(rows: dict[str, Any], made: Compressed) -> None:
    print(printable(f"{rows['network']} -> {rows['file']}"))
    table = Table()
    for heading in ("", "before", "after", "change"):
        table.add_column(heading, justify="left" if not heading else "right")
    kind = made.ledger.original_type
    table.add_row(
        f"bytes{kind and f', {kind} before'}",
        f"{rows['tensor_bytes']:,}",
        f"{rows['bytes']:,}",
        smaller(rows["ratio"]),
    )
    for part in ("valid", "test"):
        if f"{part}_before" in rows:
            before, after = 100 * rows[f"{part}_before"], 100 * rows[f"{part}_after"]
            table.add_row(
                f"{rows['measure']}, {part}", f"{before:.2f} %", f"{after:.2f} %", f"{after - before:+.2f} pt"
            )
    if "task" in rows:
        print(printable(rows["task"]))
    Console().print(table)
    if rows.get("drop_se") is not None:
        print(
            f"drop on valid {100 * rows['drop']:.2f} ± {100 * rows['drop_se']:.2f} pt (standard error of paired "
            f"differences), on {rows['judged_on']:,} examples"
        )
    chosen = f", chosen in {len(made.trials)} trials" if len(made.trials) > 1 else ""
    print(f"λ = {made.lam:.3g} nats per bit{chosen}; {made.seconds:.0f} s")
    if "certificate" in rows:
        print(printable(rows["certificate"]))
    for note in made.notes:
        print(printable(f"note: {note}"))
