"""``szilard measure --one-pass``: compares ways to predict, and saves the figures in the run folder for its report."""

from __future__ import annotations

import contextlib
import hashlib
import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from szilard import atomic, bayes
from szilard.cli.external.normalisation import Normalisation
from szilard.cli.figures import named
from szilard.cli.latency_runs import LatencyOptions
from szilard.cli.loading import saved_network_of
from szilard.cli.request import Request, Tell
from szilard.cost import clock, fresh_process
from szilard.cost.latency import latencies, pinned_threads
from szilard.data import DataSet
from szilard.errors import SzilardError
from szilard.model import one_pass
from szilard.model.saved_network import SavedNetwork
from szilard.run.folder import MethodFolder, to_json

_LONGEST = 1.0  # seconds of a call; more draws than take so long are not timed
_LEAST_ROUNDS = 10


def compared(
    found: SavedNetwork, data: DataSet, file: Path, request: Request, seed: int, timing: LatencyOptions | None
) -> dict[str, Any] | None:
    """The figures of one network, see :func:`szilard.run.one_pass.check`; None if its weights have no uncertainty.

    Args:
        found: the network of ``file``.
        timing: what was typed of ``--latency``, or None.

    Raises:
        SzilardError: an operation without a rule, or with ``timing`` a machine that is too noisy.
    """
    if all(weight.is_point for weight in bayes.weights(found.network).values()):
        return None
    try:
        figures = one_pass.compare(found.method, found.network, data, seed=seed)
    except SzilardError as error:
        reason = str(error).partition("; ")[0]  # without its advice, to use samples
        raise SzilardError(f"{file} has no prediction in one pass: {reason}; leave out --one-pass") from error
    for row in figures["predictions"]:
        row["quality"] = named(row["quality"], data.task)
    figures["time"] = None
    if timing is not None:
        arguments = asdict(request) | {"path": str(request.path)}
        times = fresh_process.in_fresh_process(
            f"{__name__}:measure_here",
            {"request": arguments, "file": str(file), "options": asdict(timing)},
            threads=timing.threads,
        )
        figures["time"] = times["time"]
        _add(figures["predictions"], times["ways"])
    return figures


def measure_here(request: dict[str, Any], file: str, options: dict[str, Any]) -> dict[str, Any]:
    """In the fresh process: seconds of each of :func:`szilard.model.one_pass.ways`; None if a call takes too long."""
    warnings.simplefilter("ignore")  # the process that started this one opens the same file, and warns
    asked = LatencyOptions(**options)
    fields = request | {
        "path": Path(request["path"]),
        "normalisation": Normalisation(**request["normalisation"]),
    }
    silent = io.StringIO()
    with contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent):
        found = saved_network_of(Path(file), Request(**fields), lambda line: None)
    x = torch.zeros(asked.batch, *found.input_shape)
    ways = one_pass.ways(found.method, found.network.eval(), x, asked.threads)
    with pinned_threads(asked.threads):
        one = _seconds(next(run for way, _, run in ways if way == ("draws", 1)))
    timed = {str(n): run for n, (way, _, run) in enumerate(ways) if way[1] * one <= _LONGEST}
    times = latencies(timed, threads=asked.threads, least_rounds=_LEAST_ROUNDS, noisy=asked.noisy)
    noise = next(iter(times.values())).noise
    version = torch.__version__.partition("+")[0]
    return {
        "ways": [
            [*way, runtime, times[str(n)].median]
            for n, (way, runtime, _) in enumerate(ways)
            if str(n) in times
        ],
        "time": {
            "batch": asked.batch,
            "threads": asked.threads,
            "runtime": f"PyTorch {version}",
            "noise": list(noise.reasons),
        },
    }


def _add(rows: list[dict[str, Any]], ways: list[list[Any]]) -> None:
    """Add times to rows of predictions, and rows for compiled networks, whose outputs are those of PyTorch."""
    known = {(row["kind"], row["draws"]): row for row in rows}
    for kind, number, runtime, seconds in ways:
        row = known[kind, number]
        if row["runtime"] == runtime:
            row["seconds"] = seconds
        else:
            rows.append(row | {"runtime": runtime, "seconds": seconds})


def _seconds(run: Callable[[], object]) -> float:
    """The least of some calls, in seconds: another program may interrupt any of them, and the first allocates."""
    found = []
    for _ in range(5):
        before = clock.CLOCK.wall()
        run()
        found.append(clock.CLOCK.wall() - before)
    return min(found)


def save_all(
    found: Sequence[tuple[dict[str, Any], Path]], files: Sequence[Path], request: Request, tell: Tell
) -> None:
    """Write the figures of networks of a run into its folder, for its report, and say where they are.

    Args:
        found: the figures of each network and its file.
        files: of all networks that were measured.

    Raises:
        SzilardError: no network has uncertainty, or a folder cannot be written to.
    """
    if not found:
        raise SzilardError(
            f"no weight of {files[0]} has uncertainty, and --one-pass compares ways to compute it; leave it out"
        )
    typed = any(request.data_options.get(name) is not None for name in ("name", "target", "split"))
    saved = []
    for figures, file in found:
        folder = MethodFolder(file.parent)
        if file == folder.network and folder.finished and not typed:
            digest = hashlib.sha256(folder.result.read_bytes()).hexdigest()
            atomic.write(folder.one_pass, to_json({"result": digest, **figures}).encode())
            saved.append(folder.one_pass)
    if saved:
        run = saved[0].parent.parent
        tell(f"figures of one pass are saved in {run}; szilard report {run} plots them")
