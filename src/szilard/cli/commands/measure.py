"""``szilard measure``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from szilard.cli.options import data as d
from szilard.cli.options import files as f
from szilard.cli.options import galen as g
from szilard.cli.options import latency as t
from szilard.cli.options import network as n
from szilard.cli.options import output as o

if TYPE_CHECKING:
    from pathlib import Path

    from szilard.cli.figures import Row
    from szilard.cli.latency_runs import LatencyOptions
    from szilard.cli.request import Request
    from szilard.cost import Cost
    from szilard.data import DataSet

GROUP = "Run"
EXAMPLES = (
    "szilard measure runs/digits",
    "szilard measure runs/digits/ssvi/network.pt --samples 100 --json",
    "szilard measure weights.pt --network network.py:build --data arrays.npz",
    "szilard measure runs/digits --latency --batch 1 --threads 1 --by-layer",
    "szilard measure runs/digits --one-pass --latency",
    "szilard measure runs/digits --method deterministic --sensitivity",
)


def measure(
    path: f.RunOrNetwork,
    method: n.OneMethodOfRun = None,
    data: d.EvaluationData = None,
    data_root: d.DataRoot = None,
    target: d.Target = None,
    split: d.Split = None,
    task: d.TaskOfOutputs = None,
    mean: d.Mean = None,
    std: d.Std = None,
    network: n.NetworkOfFile = None,
    key: n.Key = None,
    trust: n.Trust = False,
    samples: o.Samples = 32,
    seed: o.Seed = 0,
    latency: t.Latency = False,
    one_pass: t.OnePass = False,
    batch: t.Batch = None,
    threads: t.Threads = None,
    by_layer: t.ByLayer = False,
    noisy: t.Noisy = False,
    sensitivity: g.Sensitivity = False,
    json: o.Json = False,
    wide: o.Wide = False,
) -> None:
    """Measure the quality and the cost of a trained network. Also takes a plain PyTorch state dict."""
    from szilard.cli import detail_tables, figures, latency_tables, one_pass_tables, output, run_paths
    from szilard.cli.latency_runs import LatencyOptions
    from szilard.cli.request import Request, check_samples
    from szilard.errors import SzilardError
    from szilard.model import saved_network

    request = Request.typed(
        path, data=data, data_root=data_root, target=target, split=split, task=task, mean=mean, std=std,
        network=network, key=key, trust=trust,
    )  # fmt: skip
    check_samples(samples)
    if sensitivity:
        _sensitivity(request, method, seed, latency=latency, one_pass=one_pass, json=json, wide=wide)
        return
    files = run_paths.network_files(path, method)
    timing = LatencyOptions.typed(latency, batch=batch, threads=threads, by_layer=by_layer, noisy=noisy)
    if path.is_file() and not saved_network.is_finished(path):
        if one_pass:
            raise SzilardError(
                f"--one-pass compares networks with uncertainty, and {path} holds plain weights"
            )
        rows, name, ood_name = _of_weights(request, samples, seed, timing, quiet=json)
    else:
        rows, of = _of_saved_networks(request, files, samples, seed, timing, one_pass=one_pass)
        name, ood_name = of.name, of.judged_ood_name
    if json:
        output.as_json({"data": name, "ood": ood_name, "networks": rows})
        return
    figures.print_rows(rows, f"{name}, test set" + (f"; OOD: {ood_name}" if ood_name else ""), wide=wide)
    detail_tables.show(rows, wide=wide)
    latency_tables.show(rows, wide=wide)
    one_pass_tables.show(rows, wide=wide)


def _sensitivity(
    request: Request, method: str | None, seed: int, *, latency: bool, one_pass: bool, json: bool, wide: bool
) -> None:
    from szilard.cli import run_paths, sensitivity_run
    from szilard.cli.messages import library_notifier
    from szilard.errors import SzilardError

    for name, typed in (("--latency", latency), ("--one-pass", one_pass)):
        if typed:
            raise SzilardError(f"--sensitivity and {name} are two measurements; give one at a time")
    chosen = run_paths.chosen_network(request.path, method)
    chosen.tell(library_notifier(quiet=json))
    sensitivity_run.run(replace(request, path=chosen.file), seed, as_json=json, wide=wide)


def _of_saved_networks(
    request: Request,
    files: list[Path],
    samples: int,
    seed: int,
    timing: LatencyOptions | None,
    *,
    one_pass: bool,
) -> tuple[list[Row], DataSet]:
    """A row for each network of a run, a method's folder or a file of szilard; and the data."""
    from szilard import methods
    from szilard.cli import latency_runs, loading, network_data, one_pass_runs
    from szilard.cli.external import adapted_outputs
    from szilard.cli.messages import notifier
    from szilard.errors import SzilardError
    from szilard.model.evaluate import measure as evaluate

    path, notify = request.path, notifier()
    rows: list[Row] = []
    data: DataSet | None = None
    times: list[dict[str, Any]] = []
    saved: list[tuple[dict[str, Any], Path]] = []
    for number, file in enumerate(files):
        found = loading.saved_network_of(file, request, notify)
        data = network_data.for_network(found, request.data_options, str(file), data)
        if timing is not None and not number:  # all of them in turn, after what can be refused at once
            times = latency_runs.measured(request, files, timing)
        details: dict[str, Any] = {}
        quality, cost = evaluate(
            adapted_outputs.for_method(found),
            data,
            method=found.method,
            samples=samples,
            seed=seed,
            beside=details,
        )
        name = methods.label(found.method, found.network)
        time = times[number] if times else None
        if one_pass:
            compared = one_pass_runs.compared(found, data, file, request, seed, timing)
            if compared is not None:
                details["one_pass"] = compared
                saved.append((compared, file))
        rows.append(_row(name, found.method.name, quality, cost, details, data.task, time))
    if one_pass:
        one_pass_runs.save_all(saved, files, request, notify)
    if data is None:
        raise SzilardError(f"{path} holds no finished network; name a run folder or a network")
    return rows, data


def _of_weights(
    request: Request, samples: int, seed: int, timing: LatencyOptions | None, *, quiet: bool
) -> tuple[list[Row], str, str | None]:
    """A row for a file that holds weights alone; the names of the data and of the out-of-distribution data."""
    from szilard.cli import latency_runs
    from szilard.cli.external import build_record
    from szilard.cli.external.network_and_data import NetworkAndExamples, open_network_and_data
    from szilard.cli.messages import library_notifier
    from szilard.errors import SzilardError
    from szilard.model.evaluate import measure as evaluate

    if request.spec is None and not build_record.is_in(request.path):
        raise SzilardError(
            f"{request.path} holds weights and does not say of which network; add --network, for instance "
            "file.py:function"
        )
    notify = library_notifier(quiet=quiet)
    opened = open_network_and_data(request, notify)
    if opened.other_units:
        notify(opened.other_units)
    time = None if timing is None else latency_runs.measured(request, [request.path], timing)[0]
    name = request.path.name
    if isinstance(opened, NetworkAndExamples):
        quality, cost = opened.quality(opened.network), opened.cost(opened.network)
        return [_row(name, "none", quality, cost, {}, time=time)], opened.data.name, None
    details: dict[str, Any] = {}
    quality, cost = evaluate(opened.for_method(), opened.data, samples=samples, seed=seed, beside=details)
    ood_name = opened.data.judged_ood_name
    row = _row(name, "none", quality, cost, details, opened.data.task, time)
    return [row], opened.data.name, ood_name


def _row(
    name: str,
    method: str,
    quality: dict[str, float],
    cost: Cost,
    details: dict[str, Any],
    task: str = "",
    time: dict[str, Any] | None = None,
) -> Row:
    from szilard.cli import figures, latency_runs

    if "intervals" in details:
        details = details | {"intervals": figures.named(details["intervals"], task)}
    if time is not None:
        cost = latency_runs.with_time(cost, time)
        details = details | {"latency": time}
    named = figures.named(quality, task)
    return {"name": name, "method": method, "quality": named, "cost": cost.to_dict()} | details
