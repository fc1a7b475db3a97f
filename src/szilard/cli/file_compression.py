"""Compression of a network into one small file, with data or without: the work of ``szilard compress``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from szilard import networks
from szilard.cli import compression_with_data, network_data, output
from szilard.cli.compression_with_data import Shown
from szilard.cli.external import build_record, weights
from szilard.cli.external.build_record import BuildRecord
from szilard.cli.external.network_and_data import NetworkAndExamples, open_network_and_data
from szilard.cli.goal import Goal, parse_shape
from szilard.cli.messages import notifier
from szilard.cli.request import Request, Tell
from szilard.cli.szd_summary import is_szd
from szilard.compression import Compressed
from szilard.compression import compress as search
from szilard.data import DataSet
from szilard.errors import SzilardError
from szilard.model import saved_network
from szilard.model.evaluate import lacks_noise, residual
from szilard.model.saved_network import SUFFIX, SavedNetwork

_OTHER_FORMATS = (".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".onnx", ".npz", ".csv", ".json")
_NO_CERTIFICATE = (
    "--certificate bounds the share of wrong labels, and these data have values to predict, or several labels for each "
    "example; leave it out"
)


def file_to_write(request: Request, out: Path | None) -> Path:
    """The ``.szd`` file to write, by default beside the network.

    Raises:
        SzilardError: it is the network or another file that is read, cannot be written, or has another suffix.
    """
    file = request.path
    out = file.with_suffix(SUFFIX) if out is None else out
    check_output(request, out)
    if out.suffix.lower() in _OTHER_FORMATS:
        raise SzilardError(
            f"{out} would hold a .szd file under a name that ends in {out.suffix}; name a file that ends in .szd, "
            "which szilard convert can then convert to other formats"
        )
    return out


def check_output(request: Request, out: Path) -> None:
    """Raise where a file must not or cannot be written.

    Raises:
        SzilardError: it is the network or another file that is read, a folder, or in a folder that does not exist.
    """
    file = request.path
    output.check_writable(out)
    if out.exists() and file.samefile(out):
        if file.suffix.lower() == SUFFIX and not is_szd(file):
            raise SzilardError(f"{file} is not a .szd file; name a network or a file of weights")
        raise SzilardError(f"{out} is the network itself; name another file with --out")
    output.refuse_inputs(out, request.data_options.get("name"), request.spec)


def check_without_data(request: Request, goal: Goal, certificate: bool) -> None:
    """Raise where an option needs the data that ``--no-data`` leaves out.

    Raises:
        SzilardError: it does.
    """
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


def opened(
    request: Request, task: str | None, tell: Tell, *, judged: bool = True
) -> tuple[SavedNetwork, DataSet, dict[str, Any]] | NetworkAndExamples:
    """The network to compress and its data: of a run, or external with a data set and further metadata, or examples.

    Args:
        task: of ``--task``.
        judged: the score on the data decides, so that its units must be right.

    Raises:
        SzilardError: the network or its data cannot be opened, or do not fit each other.
    """
    file = request.path
    if saved_network.is_finished(file):
        return *_saved_network(request, task), {}
    if request.data_options.get("name") is None:
        raise SzilardError(
            f"{file} does not say which data it is for; add --data, or --no-data for a larger file without"
        )
    found = open_network_and_data(request, tell)
    if found.misjudged and judged:
        raise SzilardError(found.other_units)  # such a score cannot measure a drop
    if found.other_units:
        tell(found.other_units)
    if isinstance(found, NetworkAndExamples):
        return found
    stored = {key: value for key, value in request.data_options.items() if value is not None}
    saved = SavedNetwork.plain(found.network, found.data, network_spec=found.spec, source=stored)
    saved = replace(saved, answers=found.kind)
    if lacks_noise(found.for_method(), found.data):
        saved = replace(saved, noise=residual(found.for_method(), found.data))
    return saved, found.data, found.meta


def with_data(
    request: Request, goal: Goal, seed: int, shown: Shown, certificate: bool
) -> tuple[Compressed, dict[str, Any]]:
    """Compress with data; the second value is what is printed of it.

    Raises:
        SzilardError: as :func:`opened`, the goal cannot be reached, or a certificate for data without classes.
    """
    judged = goal.max_bytes is None and goal.lam is None
    found = opened(request, goal.task, shown.tell, judged=judged)
    if isinstance(found, NetworkAndExamples):
        if certificate:
            raise SzilardError(_NO_CERTIFICATE)
        return compression_with_data.with_examples(found, goal, seed, shown)
    saved, data, meta = found
    if certificate and (not data.target_type.has_classes or data.is_dense):
        raise SzilardError(_NO_CERTIFICATE)
    made, described = compression_with_data.with_data_set(saved, data, meta, goal, seed, shown)
    if certificate:
        described["certificate"] = compression_with_data.certificate(saved, made, data, seed)
    return made, described


def _saved_network(request: Request, task: str | None) -> tuple[SavedNetwork, DataSet]:
    found = saved_network.load(request.path, request.spec, trusted=request.trusted, tell=notifier())
    data = network_data.for_network(found, request.data_options, str(request.path))
    if task not in (None, data.task):
        raise SzilardError(f"--task is {task}, and the data are for {data.task}; leave --task out")
    return found, data


def without_data(
    request: Request, input_shape: str | None, outputs: int | None, goal: Goal, seed: int, shown: Shown
) -> Compressed:
    """Compress without data.

    Raises:
        SzilardError: the network cannot be opened, or the goal cannot be reached.
    """
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
