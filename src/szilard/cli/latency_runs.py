"""Latency of the networks that ``szilard measure`` names, in a fresh process."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from szilard.cli.external.network_and_data import open_network_and_data
from szilard.cli.external.normalisation import Normalisation
from szilard.cli.loading import saved_network_of
from szilard.cli.request import Request
from szilard.cost import Cost, fresh_process
from szilard.cost.by_layer import LayerTimes, by_layer
from szilard.cost.latency import Latency, latencies
from szilard.cost.machine_noise import MachineNoise
from szilard.errors import SzilardError
from szilard.model import inference_time, saved_network


@dataclass(frozen=True)
class LatencyOptions:
    """What was typed after ``--latency``, with defaults."""

    batch: int = 1
    threads: int = 1
    by_layer: bool = False
    noisy: bool = False

    @classmethod
    def typed(
        cls, latency: bool, *, batch: int | None, threads: int | None, by_layer: bool, noisy: bool
    ) -> LatencyOptions | None:
        """The options, or None without ``--latency``.

        Raises:
            SzilardError: one of them without ``--latency``, or a number that is not positive.
        """
        given = {"--batch": batch, "--threads": threads, "--by-layer": by_layer, "--noisy": noisy}
        alone = [name for name, value in given.items() if value is not None and value is not False]
        if not latency and alone:
            raise SzilardError(
                f"{alone[0]} is an option of --latency; add --latency, or leave {alone[0]} out"
            )
        for name, value in (("--batch", batch), ("--threads", threads)):
            if value is not None and value < 1:
                raise SzilardError(f"{name} must be at least 1, not {value}")
        return cls(batch or 1, threads or 1, by_layer, noisy) if latency else None


def measured(request: Request, files: Sequence[Path], options: LatencyOptions) -> list[dict[str, Any]]:
    """Latency of each network, as JSON values (``docs/json.md``); all of them take turns in one fresh process.

    Args:
        request: how the networks are opened.
        files: of the networks.

    Raises:
        SzilardError: a network cannot be opened or run, or the machine is too noisy now.
    """
    arguments = asdict(request) | {"path": str(request.path)}
    found: list[dict[str, Any]] = fresh_process.in_fresh_process(
        f"{__name__}:measure_here",
        {"request": arguments, "files": [str(file) for file in files], "options": asdict(options)},
        threads=options.threads,
    )
    return found


def measure_here(request: dict[str, Any], files: list[str], options: dict[str, Any]) -> list[dict[str, Any]]:
    """In the fresh process: see :func:`measured`; the arguments are its own as JSON values."""
    warnings.simplefilter("ignore")  # the process that started this one opens the same files, and warns
    asked = LatencyOptions(**options)
    fields = request | {
        "path": Path(request["path"]),
        "normalisation": Normalisation(**request["normalisation"]),
    }
    silent = io.StringIO()  # the other process prints the same when it opens the files
    with contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent):
        networks = [_network(Request(**fields), Path(file)) for file in files]
    runtimes = [inference_time.runtime(network, shape, batch=asked.batch) for network, shape in networks]
    found = latencies(
        {str(number): one.run for number, one in enumerate(runtimes)},
        threads=asked.threads,
        waits=any(one.waits for one in runtimes),
        noisy=asked.noisy,
    )
    rows = []
    for one, latency, (network, shape) in zip(runtimes, found.values(), networks, strict=True):
        row = _latency(latency, asked.batch, one.label)
        if asked.by_layer:
            times = by_layer(
                inference_time.plain(network), shape, batch=asked.batch, threads=asked.threads,
                noisy=asked.noisy,
            )  # fmt: skip
            row["layers"] = _layers(times)
        rows.append(row)
    return rows


def with_time(cost: Cost, time: dict[str, Any]) -> Cost:
    """A cost with the latency of :func:`measured`, unless the machine was noisy: costs are compared without a label."""
    if time["noise"]["reasons"]:
        return cost
    return inference_time.with_latency(cost, time["median"], batch=time["batch"], threads=time["threads"])


def _network(request: Request, file: Path) -> tuple[nn.Module, tuple[int, ...]]:
    """A network as ``szilard measure`` opens it, and the shape of one input."""
    if file.is_file() and not saved_network.is_finished(file):
        opened = open_network_and_data(request, lambda line: None)
        return opened.network, tuple(opened.data.input_shape)
    found = saved_network_of(file, request, lambda line: None)
    return found.network, tuple(found.input_shape)


def _latency(latency: Latency, batch: int, runtime: str) -> dict[str, Any]:
    return {
        "median": latency.median,
        "p10": latency.p10,
        "p90": latency.p90,
        "readings": latency.readings,
        "calls_per_reading": latency.calls_per_reading,
        "batch": batch,
        "threads": latency.threads,
        "runtime": runtime,
        "noise": _noise(latency.noise),
    }


def _layers(times: LayerTimes) -> dict[str, Any]:
    return {
        "rows": [asdict(layer) for layer in times.layers],
        "total": times.total,
        "network": times.network.median,
        "error": times.error,
        "noise": _noise(times.network.noise),
    }


def _noise(noise: MachineNoise) -> dict[str, Any]:
    return {"spread": noise.spread, "share": noise.share, "reasons": list(noise.reasons)}
