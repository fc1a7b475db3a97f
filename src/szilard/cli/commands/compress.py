"""``szilard compress``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from szilard.cli.options import compression as c
from szilard.cli.options import data as d
from szilard.cli.options import network as n
from szilard.cli.options import output as o

if TYPE_CHECKING:
    from szilard.cli.compression_with_data import Shown
    from szilard.cli.goal import Goal
    from szilard.cli.request import Request
    from szilard.compression import Compressed
    from szilard.data import DataSet
    from szilard.model.saved_network import SavedNetwork

GROUP = "Compress"
EXAMPLES = (
    "szilard compress runs/digits",
    "szilard compress net.pt --network file.py:build --data cifar10 --max-drop 0.5 -o net.szd",
    "szilard compress net.pt --network file.py:build --data images.npz --max-bytes 20000",
    "szilard compress net.pt --network file.py:build --no-data",
)

Weights = Annotated[
    Path,
    typer.Argument(
        metavar="NETWORK",
        help="A run folder, a network.pt, or, with --network, a file of weights: a PyTorch state dict or checkpoint, a "
        ".safetensors file, a TorchScript archive.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="FILE.szd", help="File to write. Default: beside the network."),
]

_OTHER_FORMATS = (".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".onnx", ".npz", ".csv", ".json")
_NO_CERTIFICATE = (
    "--certificate bounds the share of wrong labels, and these data have values to predict, or several labels for each "
    "example; leave it out"
)


def compress(
    path: Weights,
    data: d.EvaluationData = None,
    data_root: d.DataRoot = None,
    target: d.Target = None,
    split: d.Split = None,
    mean: d.Mean = None,
    std: d.Std = None,
    network: n.NetworkOfFile = None,
    key: n.Key = None,
    trust: n.Trust = False,
    method: n.MethodOfRun = None,
    max_drop: c.MaxDrop = None,
    max_bytes: c.MaxBytes = None,
    lam: c.Lam = None,
    task: d.TaskOfOutputs = None,
    confidence: c.Confidence = 0.9,
    no_data: c.NoData = False,
    input_shape: c.InputShape = None,
    outputs: c.Outputs = None,
    certificate: c.Certificate = False,
    seed: c.Seed = 0,
    out: Out = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
    wide: o.Wide = False,
) -> None:
    """Compress a trained network into one small file: the smallest that keeps its quality, or the best of a given size.

    The file holds no code. Open it with szilard.load in Python, or with szilard measure and szilard predict.
    """
    from rich.console import Console

    from szilard.cli import output, run_paths
    from szilard.cli.compression_with_data import Shown
    from szilard.cli.goal import Goal
    from szilard.cli.messages import library_notifier
    from szilard.cli.request import Request
    from szilard.cli.table import say_wrapped
    from szilard.errors import printable

    goal = Goal(max_drop, max_bytes, lam, task, confidence)
    goal.check()
    silent = quiet or json
    notify = library_notifier(quiet=silent)
    chosen = run_paths.chosen_network(path, method)
    file = chosen.file
    request = Request.typed(
        file, data=data, data_root=data_root, target=target, split=split, task=task, mean=mean, std=std,
        network=network, key=key, trust=trust,
    )  # fmt: skip
    out = _file_to_write(request, out)
    shown = Shown(Console(stderr=True, quiet=silent), notify)
    if no_data:
        _check_without_data(request, goal, certificate)
    with output.writing(out):
        if no_data:
            made = _without_data(request, input_shape, outputs, goal, seed, shown)
            described: dict[str, Any] = {}
        else:
            made, described = _with_data(request, goal, seed, shown, certificate)
        made.save(out)
    from szilard.cli import compression_summary as summary  # needs torch

    figures = summary.figures_of(file, out, made, described)
    if json:
        output.as_json(figures)
    elif not quiet:
        summary.show(figures, made, wide)
    elif certificate:
        say_wrapped(printable(figures["certificate"]))


def _file_to_write(request: Request, out: Path | None) -> Path:
    from szilard.cli import output
    from szilard.cli.szd_summary import is_szd
    from szilard.errors import SzilardError
    from szilard.model.saved_network import SUFFIX

    file = request.path
    out = file.with_suffix(SUFFIX) if out is None else out
    output.check_writable(out)
    if out.exists() and file.samefile(out):
        if file.suffix.lower() == SUFFIX and not is_szd(file):
            raise SzilardError(f"{file} is not a .szd file; name a network or a file of weights")
        raise SzilardError(f"{out} is the network itself; name another file with --out")
    output.refuse_inputs(out, request.data_options.get("name"), request.spec)
    if out.suffix.lower() in _OTHER_FORMATS:
        raise SzilardError(
            f"{out} would hold a .szd file under a name that ends in {out.suffix}; name a file that ends in .szd, "
            "which szilard convert can then convert to other formats"
        )
    return out


def _check_without_data(request: Request, goal: Goal, certificate: bool) -> None:
    from szilard.errors import SzilardError

    if certificate:
        raise SzilardError(
            "--certificate counts errors over training examples; give data instead of --no-data"
        )
    if goal.max_drop is not None:
        raise SzilardError(
            "--max-drop needs data to measure the quality; give --max-bytes or --lam, or data instead of --no-data"
        )
    if request.data_options.get("name") is not None:
        raise SzilardError("--data and --no-data contradict each other; give one of them")


def _with_data(
    request: Request, goal: Goal, seed: int, shown: Shown, certificate: bool
) -> tuple[Compressed, dict[str, Any]]:
    from szilard.cli import compression_with_data
    from szilard.cli.external.network_and_data import NetworkAndExamples, open_network_and_data
    from szilard.errors import SzilardError
    from szilard.model import saved_network
    from szilard.model.evaluate import lacks_noise, residual
    from szilard.model.saved_network import SavedNetwork

    file = request.path
    meta: dict[str, Any] = {}
    if saved_network.is_finished(file):
        found, data = _saved_network(request, goal)
    elif request.data_options.get("name") is None:
        raise SzilardError(
            f"{file} does not say which data it is for; add --data, or --no-data for a larger file without"
        )
    else:
        opened = open_network_and_data(request, shown.tell)
        if opened.misjudged and goal.max_bytes is None and goal.lam is None:
            raise SzilardError(opened.other_units)  # such a score cannot measure a drop
        if opened.other_units:
            shown.tell(opened.other_units)
        if isinstance(opened, NetworkAndExamples):
            if certificate:
                raise SzilardError(_NO_CERTIFICATE)
            return compression_with_data.with_examples(opened, goal, seed, shown)
        stored = {key: value for key, value in request.data_options.items() if value is not None}
        data, meta = opened.data, opened.meta
        found = SavedNetwork.plain(opened.network, data, network_spec=opened.spec, source=stored)
        found = replace(found, answers=opened.kind)
        if lacks_noise(opened.for_method(), data):
            found = replace(found, noise=residual(opened.for_method(), data))
    if certificate and (not data.target_type.has_classes or data.is_dense):
        raise SzilardError(_NO_CERTIFICATE)
    made, described = compression_with_data.with_data_set(found, data, meta, goal, seed, shown)
    if certificate:
        described["certificate"] = compression_with_data.certificate(found, made, data, seed)
    return made, described


def _saved_network(request: Request, goal: Goal) -> tuple[SavedNetwork, DataSet]:
    from szilard.cli import network_data
    from szilard.cli.messages import notifier
    from szilard.errors import SzilardError
    from szilard.model import saved_network

    found = saved_network.load(request.path, request.spec, trusted=request.trusted, tell=notifier())
    data = network_data.for_network(found, request.data_options, str(request.path))
    if goal.task not in (None, data.task):
        raise SzilardError(f"--task is {goal.task}, and the data are for {data.task}; leave --task out")
    return found, data


def _without_data(
    request: Request, input_shape: str | None, outputs: int | None, goal: Goal, seed: int, shown: Shown
) -> Compressed:
    from szilard import networks
    from szilard.cli import compression_with_data
    from szilard.cli.external import build_record, weights
    from szilard.cli.external.build_record import BuildRecord
    from szilard.cli.goal import parse_shape
    from szilard.cli.messages import notifier
    from szilard.compression import compress as search
    from szilard.model import saved_network

    file, spec = request.path, request.spec
    shape = parse_shape(input_shape)
    if saved_network.is_finished(file):
        found = saved_network.load(file, spec, trusted=request.trusted, tell=notifier())
        network, shape, meta = found.network, found.input_shape, saved_network.to_meta(found)
    else:
        record = build_record.read(file, spec, trusted=request.trusted)
        if record is not None:
            spec, shape, outputs = record.spec, shape or record.input_shape, outputs or record.n_outputs
        network, meta = weights.network_of(
            file, spec, request.key, request.trusted,
            lambda named: networks.build_for(named, shape, outputs), shown.tell,
        )  # fmt: skip
        if spec is not None:
            meta = meta | BuildRecord(spec, shape, outputs, goal.task or "").to_meta()
    with compression_with_data.progress(shown) as bar:
        return search(
            network, max_bytes=goal.max_bytes, lam=goal.lam, input_shape=shape, seed=seed, meta=meta,
            task=goal.task, progress=bar,
        )  # fmt: skip
