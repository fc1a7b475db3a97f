"""What ``szilard deploy`` prints: the file, how far it is from PyTorch, its speed and the storage of each layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from szilard.cli import deployed_remote, deployed_uncertainty, deployment, output, table
from szilard.cli.deployed_remote import Device
from szilard.cli.deployed_source import Source
from szilard.cli.deployment import Options
from szilard.cli.option_names import for_command_line
from szilard.cost.latency import Latency, latencies
from szilard.deploy import Compiled, backends
from szilard.deploy.checking import difference
from szilard.errors import SzilardError, printable
from szilard.report.figure_names import seconds

_FAST = ("native", "onnx", "eager")  # of these, the mean network is compiled as well, to compare its speed
_BUDGET = 1.0  # seconds of the measurement
_ALONE = "alone"  # key of a time of the runtime alone, beside a mode
_MODES = {
    "point": "point (mean weights, no epistemic uncertainty)",
    "moments": "moments (mean and variance in one pass)",
    "samples": "samples (all draws in one graph)",
    "ensemble": "ensemble (all networks in one graph)",
}


def figures(
    made: Compiled,
    source: Source,
    options: Options,
    files: Sequence[Path],
    out: Path | None,
    device: Device | None = None,
) -> dict[str, Any]:
    """The figures of a compiled network, as ``szilard deploy --json`` prints them.

    Args:
        device: where it is timed; None: here.
    """
    found: dict[str, Any] = {
        "networks": [str(file) for file in files],
        "backend": made.backend,
        "mode": made.mode,
        "batch": made.batch,
        "threads": options.threads,
        "normalises": source.normalises,
    }
    if out is not None:
        found |= {"file": str(out), "bytes": out.stat().st_size}
    found["difference"] = made.difference
    if source.split:
        found |= {"test_difference": _on_test(made, source, options)}
        found["test_inputs"] = _batches(made, source) * (made.batch or len(source.examples))
    alone: dict[str, Latency] = {}
    if device is None:
        times, alone = _times(made, source, options)
        found["device"] = None
    else:
        found["device"], there = device.measured(made, source.examples)
        times = {made.mode: there}
    found["seconds"] = {name: one.median for name, one in times.items()}
    found["runtime_seconds"] = {name: one.median for name, one in alone.items()}
    noise = next(iter(times.values())).noise
    found["noise"] = "" if noise.quiet else noise.text
    found["decisions"] = [for_command_line(line) for line in made.decisions]
    return found


def _batches(made: Compiled, source: Source) -> int:
    return 1 if made.batch is None else len(source.examples) // made.batch


def _on_test(made: Compiled, source: Source, options: Options) -> float:
    """The largest difference to PyTorch on the inputs of the test split, relative to the outputs' size."""
    eager = deployment.compiled(source, options, None, backend="eager", mode=made.mode, batch=made.batch)
    size = made.batch or len(source.examples)
    worst = 0.0
    for number in range(_batches(made, source)):
        x = source.examples[number * size : (number + 1) * size]
        outputs = [
            {name: getattr(prediction, name) for name in made.outputs} for prediction in (made(x), eager(x))
        ]
        worst = max(worst, difference(*outputs, in_nats=source.targets is None)[0])
    return worst


def _times(made: Compiled, source: Source, options: Options) -> tuple[dict[str, Latency], dict[str, Latency]]:
    """Latency of the compiled network, and of its mean in the same runtime, by mode.

    Returns:
        of a call in Python, which checks the inputs and the answer, and of the runtime alone: what another program that
        runs the file waits for.
    """
    x = source.examples[torch.arange(made.batch or 1) % len(source.examples)].contiguous()
    networks = {made.mode: made}
    if made.mode != "point" and made.backend in _FAST:
        one = replace(source, networks=source.networks[:1])
        changed = {"backend": made.backend, "mode": "point", "batch": made.batch}
        networks = {"point": deployment.compiled(one, options, None, **changed), **networks}

    def caller(run: Callable[[torch.Tensor], object]) -> Callable[[], object]:
        return lambda: run(x)

    runs = {name: caller(network) for name, network in networks.items()}
    runs |= {f"{_ALONE} {name}": caller(network.run) for name, network in networks.items()}
    try:
        found = latencies(runs, threads=options.threads, budget=_BUDGET, noisy=True)
    except SzilardError as error:
        raise SzilardError(f"the speed of the compiled network cannot be measured: {error}") from error
    return {name: found[name] for name in networks}, {name: found[f"{_ALONE} {name}"] for name in networks}


def show(figures: dict[str, Any]) -> None:
    """Print the figures: a table, and a line for each layer whose storage was chosen."""
    to = f" -> {figures['file']}" if "file" in figures else ""
    table.say_wrapped(printable(f"{', '.join(figures['networks'])}{to}"))
    rows = [
        ("runtime", f"{figures['backend']}, {backends.kind(figures['backend']).summary}"),
        ("mode", _MODES[figures["mode"]]),
        ("inputs", "any number" if figures["batch"] is None else f"{figures['batch']} at a time"),
    ]
    if not figures["normalises"]:
        rows.append(("", "raw: not normalised inside, so give them as in training"))
    if "bytes" in figures:
        rows.append(("bytes", f"{figures['bytes']:,}"))
    rows.append(("difference to PyTorch", f"{figures['difference']:.2g} of the outputs' size"))
    if "test_difference" in figures:
        on = f"{figures['test_inputs']:,} inputs of the test split"
        rows.append(("", f"{figures['test_difference']:.2g} on {on}"))
    if figures["device"] is not None:
        rows += deployed_remote.rows(figures["device"])
    rows += deployed_uncertainty.rows(figures)
    heading = "time for one input" if (figures["batch"] or 1) == 1 else f"time for {figures['batch']} inputs"
    for name, time in figures["seconds"].items():
        alone = figures["runtime_seconds"].get(name)
        inside = "" if alone is None else f", {seconds(alone)} in the runtime alone"
        rows.append((heading, f"{seconds(time)}{inside} ({name}, {_threads(figures['threads'])})"))
        heading = ""
    if figures["device"] is not None:
        rows.append(deployed_remote.spread(figures["device"]))
    names, values = zip(*rows, strict=True)
    columns = [table.Column([""], names, right=False), table.Column([""], values, right=False)]
    output.say("")
    for line in table.lines(table.Table(columns), None)[2:]:
        table.say_wrapped(line)
    for paragraph in _notes(figures):
        output.say("")
        for line in paragraph:
            table.say_wrapped(printable(line))


def _threads(count: int) -> str:
    return f"{count} thread{'' if count == 1 else 's'}"


def _notes(figures: dict[str, Any]) -> list[list[str]]:
    """Paragraphs below the table."""
    found = []
    layers = [f"  {line}" for line in figures["decisions"] if " weight (" in line]
    if layers:
        found.append(["Weights are stored as is faster on this machine (dense ones if by 5 %):", *layers])
    found += deployed_uncertainty.notes(figures)
    if figures["runtime_seconds"]:
        found.append(
            [
                "The first time is that of a call in Python (szilard.deploy), which checks the inputs and the answer; "
                "a program that runs the compiled network itself waits for the time in the runtime alone."
            ]
        )
    if figures["noise"]:
        found.append([f"Times are of a busy machine: {figures['noise']}."])
    if figures["device"] is not None:
        found.append(
            ["The time is that of the device's own clock, without the network between the machines."]
        )
    elif "file" not in figures:
        found.append(
            [
                f"Backend {figures['backend']} writes no file: use it in Python (szilard.deploy.compile), or predict "
                "with szilard predict --one-pass."
            ]
        )
    return found
