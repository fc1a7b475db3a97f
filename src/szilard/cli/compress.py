"""``szilard compress``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from szilard import networks
from szilard.cli import built, judged, output, source, suited, target, weights
from szilard.cli.built import Built
from szilard.cli.case import OfExamples, Request, Tell, opened
from szilard.cli.judged import SAMPLES
from szilard.cli.table import Column, Table, say_wrapped, show
from szilard.cli.told import once, warned
from szilard.cli.wish import Shape, Wish
from szilard.cli.words import cli
from szilard.compression import Compressed
from szilard.compression import compress as search
from szilard.data import DataSet
from szilard.errors import SzilardError, printable
from szilard.file.ledger import smaller
from szilard.model import saved_network
from szilard.model.evaluate import judge, residual, tells_mean_alone
from szilard.model.saved_network import SavedNetwork

__all__ = ["Shape", "Wish", "compress"]

_OTHERS = (
    ".pt",
    ".pth",
    ".ckpt",
    ".bin",
    ".safetensors",
    ".onnx",
    ".npz",
    ".csv",
    ".json",
)  # of other formats
_CERTIFIED = (
    "--certificate is about shares of errors, and these data have quantities or several labels an example; "
    "leave it out"
)


def compress(
    request: Request,
    wish: Wish,
    out: Path | None,
    *,
    method: str | None,
    without_data: bool,
    shape: Shape,
    certified: bool,
    seed: int,
    as_json: bool,
    quiet: bool,
    wide: bool,
) -> None:
    """Write a ``.szd`` file, and print what it cost."""
    wish.check()
    path = request.path
    file = path if path.is_file() else target.finished(path, method)[0].network
    request = replace(request, path=file)
    out = file.with_suffix(saved_network.SUFFIX) if out is None else out
    if out.is_dir() or not out.absolute().parent.is_dir():
        what = "is a folder" if out.is_dir() else "is in a folder that does not exist"
        raise SzilardError(f"{out} {what}; name a file to write")
    if out.exists() and file.samefile(out):
        raise SzilardError(f"{out} is the network itself; name another file with --out")
    output.refuse_inputs(out, request.given.get("name"), request.spec)
    if out.suffix.lower() in _OTHERS:
        raise SzilardError(
            f"{out} would hold a .szd file under a name that ends in {out.suffix}; name a file that ends in .szd, from "
            "which szilard convert makes others"
        )
    if without_data:
        _check_without_data(request, wish, certified)
    tell = _teller(quiet or as_json)
    console = Console(stderr=True, quiet=quiet or as_json)
    with output.told(out):
        if without_data:
            made, described = _without_data(request, shape, wish, seed, console, tell)
        else:
            made, described = _with_data(request, wish, seed, console, tell, certified)
        made.save(out)
    rows = _figures(file, out, made, described)
    if as_json:
        output.as_json(rows)
    elif not quiet:
        _print(rows, made, wide)
    elif certified:
        say_wrapped(printable(rows["certificate"]))


def _check_without_data(request: Request, wish: Wish, certified: bool) -> None:
    if certified:
        raise SzilardError(
            "--certificate counts errors over training examples; give data instead of --no-data"
        )
    if wish.max_drop is not None:
        raise SzilardError(
            "--max-drop needs data to judge by; give --max-bytes or --lam, or data instead of --no-data"
        )
    if request.given.get("name") is not None:
        raise SzilardError("--data and --no-data contradict each other; give one of them")


def _teller(silent: bool) -> Tell:
    """Lines on standard error, in words of the command line."""
    say = once()
    return lambda line: None if silent else say(cli(printable(str(line))))


def _with_data(
    request: Request, wish: Wish, seed: int, console: Console, tell: Tell, certified: bool
) -> tuple[Compressed, dict[str, Any]]:
    file = request.path
    if saved_network.is_finished(file):
        found = saved_network.load(file, request.spec, trusted=request.trusted, tell=once())
        data = source.for_network(found, request.given, str(file))
        if wish.task not in (None, data.task):
            raise SzilardError(f"--task is {wish.task}, and the data are for {data.task}; leave --task out")
        meta: dict[str, Any] = {}
    elif request.given.get("name") is None:
        raise SzilardError(
            f"{file} does not say which data it is for; add --data, or --no-data for a larger file without"
        )
    else:
        case = opened(request, tell)
        if case.other_units and case.score <= 0 and wish.max_bytes is None and wish.lam is None:
            raise SzilardError(case.other_units)  # no drop of such a score can be judged
        if case.other_units:
            tell(case.other_units)
        if isinstance(case, OfExamples):
            if certified:
                raise SzilardError(_CERTIFIED)
            return judged.by_examples(case, wish, seed, console, tell)
        stored = {key: value for key, value in request.given.items() if value is not None}
        found = SavedNetwork.plain(case.network, case.data, network_spec=case.spec, source=stored)
        found = replace(found, answers=case.kind)
        if case.data.task == "regression" and tells_mean_alone(case.asked(), case.data):
            found = replace(found, noise=residual(case.asked(), case.data))
        data, meta = case.data, case.meta
    if certified and (data.task != "classification" or data.is_dense):
        raise SzilardError(_CERTIFIED)
    made, described = judged.by_data_set(found, data, meta, wish, seed, console, tell)
    if certified:
        described["certificate"] = _certificate(found, made, data, seed)
    return made, described


def _without_data(
    request: Request, shape: Shape, wish: Wish, seed: int, console: Console, tell: Tell
) -> tuple[Compressed, dict[str, Any]]:
    file, spec = request.path, request.spec
    inputs = shape.parsed()
    if saved_network.is_finished(file):
        found = saved_network.load(file, spec, trusted=request.trusted, tell=once())
        network, inputs, meta = found.network, found.input_shape, saved_network.to_meta(found)
    else:
        said = built.of(file, spec, trusted=request.trusted)
        spec = spec if said is None else said.spec
        if said is not None:
            inputs = inputs or said.input_shape
            shape = Shape(shape.inputs, shape.outputs or said.n_outputs)
        network, meta = weights.network_of(
            file,
            spec,
            request.key,
            request.trusted,
            lambda named: networks.build_for(named, inputs, shape.outputs),
            tell,
        )
        if spec is not None:
            meta = meta | Built(spec, inputs, shape.outputs, wish.task or "").to_meta()
    with judged.progress(console, tell) as progress:
        made = search(
            network, max_bytes=wish.max_bytes, lam=wish.lam, input_shape=inputs, seed=seed, meta=meta,
            task=wish.task, progress=progress,
        )  # fmt: skip
    return made, {}


def _certificate(found: SavedNetwork, made: Compressed, data: DataSet, seed: int) -> str:
    """What the size of the file promises, with its assumptions."""
    network = suited.asked(replace(found, network=made.network))
    quality, _, _ = judge(found.method, network, data, data.train, samples=SAMPLES, seed=seed, ood=False)
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
        "notes": [cli(note) for note in made.notes],
        "trials": [dict(zip(("lam", "bytes", "score"), trial, strict=True)) for trial in made.trials],
    }


def _print(rows: dict[str, Any], made: Compressed, wide: bool) -> None:
    say_wrapped(printable(f"{rows['network']} -> {rows['file']}"))
    kind = made.ledger.original_type
    cells = [
        (
            f"bytes{kind and f', {kind} before'} ↓",
            f"{rows['tensor_bytes']:,}",
            f"{rows['bytes']:,}",
            smaller(rows["ratio"]),
        )
    ]
    for part in ("valid", "test"):
        if f"{part}_before" in rows:
            before, after = 100 * rows[f"{part}_before"], 100 * rows[f"{part}_after"]
            cells.append(
                (
                    f"{rows['measure']} ↑, {part}",
                    f"{before:.2f} %",
                    f"{after:.2f} %",
                    f"{after - before:+.2f} pt",
                )
            )
    names, *figures = zip(*cells, strict=True)
    columns = [Column([""], names, right=False)]
    columns += [
        Column([head], cells_) for head, cells_ in zip(("before", "after", "change"), figures, strict=True)
    ]
    output.say("")
    show(Table(columns), wide=wide)
    output.say("")
    if rows.get("drop_se") is not None:
        unit = (
            f"% of the {rows['measure']} before"
            if made.promise is not None and made.promise.before.relative
            else "pt"
        )
        say_wrapped(
            f"drop on valid {100 * rows['drop']:.2f} ± {100 * rows['drop_se']:.2f} {unit} (standard error of paired "
            f"differences), on {rows['judged_on']:,} examples"
        )
    chosen = f", chosen in {len(made.trials)} trials" if len(made.trials) > 1 else ""
    say_wrapped(f"λ = {made.lam:.3g} nats per bit{chosen}; {made.seconds:.0f} s")
    if "certificate" in rows:
        say_wrapped(printable(rows["certificate"]))
    for note in (note for note in rows["notes"] if not warned(note)):
        say_wrapped(printable(f"note: {note}"))
