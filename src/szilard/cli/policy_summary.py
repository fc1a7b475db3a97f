"""What ``szilard compress --search galen`` prints: the policy by layer, cost and quality before and after."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from szilard.cli import output, table
from szilard.cli.figures import QUALITY
from szilard.cli.messages import was_warned
from szilard.cli.option_names import for_command_line
from szilard.compression.policies.found import Found
from szilard.compression.policies.found_page import amount, cost_name
from szilard.compression.policies.policy import FLOAT
from szilard.errors import printable
from szilard.report.figure_names import nats, percent

_LETTERS = 60  # of the name of a layer
_IN_POINTS = ("accuracy", "accuracy_by_label", "accuracy_all")
_WHOLE = 5  # layers that are named


def figures_of(found: Found, file: Path, out: Path, policy: Path, page: Path) -> dict[str, Any]:
    """The figures of a result, as ``--json`` prints them (``docs/json.md``)."""
    return {
        "network": str(file),
        "file": str(out),
        "bytes": len(found.content),
        "policy": str(policy),
        "report": str(page),
        "unit": found.unit,
        "reference": found.reference,
        "cost": found.cost,
        "ratio": found.ratio,
        "target": found.target if found.target < float("inf") else None,
        "predicted": found.predicted if found.searcher else None,
        "table_error": found.table_error,
        "kl": found.kl,
        "kl_before": found.kl_before,
        "before": found.before,
        "after": found.after,
        "searcher": found.searcher or None,
        "evaluations": len(found.trials),
        "layers": [
            {
                "name": layer.name,
                "channels": layer.channels,
                "channels_before": found.sizes.get(layer.name, layer.channels),
                "weight_bits": layer.weight_bits,
                "activation_bits": layer.activation_bits,
                "gone": layer.name in found.gone,
            }
            for layer in found.policy.layers
        ],
        "whole": found.whole,
        "seconds": found.seconds,
        "notes": [for_command_line(note) for note in found.notes],
    }


def show(figures: dict[str, Any], *, wide: bool) -> None:
    """Print the figures: a table of layers, one of cost and quality, and what they were measured on."""
    table.say_wrapped(printable(f"{figures['network']} -> {figures['file']}"))
    output.say("")
    table.show(_layers(figures["layers"]), wide=wide)
    output.say("")
    table.show(_quality(figures), wide=wide)
    output.say("")
    for sentence in _sentences(figures):
        table.say_wrapped(printable(sentence))
    for note in (note for note in figures["notes"] if not was_warned(note)):
        table.say_wrapped(printable(f"note: {note}"))


def _layers(layers: Sequence[dict[str, Any]]) -> table.Table:
    names = [printable(layer["name"], _LETTERS) for layer in layers]
    counts = [0 if layer["gone"] else layer["channels"] for layer in layers]
    columns = [
        table.Column(["layer"], names, right=False),
        table.Column(["channels", "before"], [f"{layer['channels_before']:,}" for layer in layers]),
        table.Column(["", "after"], [f"{kept:,}" for kept in counts]),
        table.Column(
            ["", "kept"],
            [percent(kept / one["channels_before"], 0) for kept, one in zip(counts, layers, strict=True)],
            worth=10,
        ),
    ]
    for heading, key in (("weights", "weight_bits"), ("inputs", "activation_bits")):
        cells = ["gone" if layer["gone"] else _bits(layer[key]) for layer in layers]
        columns.append(table.Column([heading], cells, worth=50))
    return table.Table(columns)


def _bits(number: int) -> str:
    return "float" if number == FLOAT else f"{number} bits"


def _quality(figures: dict[str, Any]) -> table.Table:
    """Cost and quality, before and after."""
    unit = figures["unit"]
    source = "estimated" if unit == "joules" else "measured"
    rows = [
        (
            f"{cost_name(unit)} ↓, {source}", amount(figures["reference"], unit), amount(figures["cost"], unit),
            f"to {percent(figures['ratio'])}",
        )
    ]  # fmt: skip
    for key, before in figures["before"].items():
        after = figures["after"].get(key)
        figure = QUALITY.get(key)
        if after is None or figure is None:
            continue
        points = key in _IN_POINTS
        change = f"{100 * (after - before):+.2f} pt" if points else f"{after - before:+.3f}"
        mark = " %" if points else f" {figure.unit}" if figure.unit == "nats" else ""
        rows.append(
            (
                f"{figure.heading}, valid",
                f"{figure.show(before)}{mark}",
                f"{figure.show(after)}{mark}",
                change,
            )
        )
    names, *cells = zip(*rows, strict=True)
    columns = [table.Column([""], names, right=False)]
    columns += [
        table.Column([head], column)
        for head, column in zip(("before", "after", "change"), cells, strict=True)
    ]
    return table.Table(columns)


def _sentences(figures: dict[str, Any]) -> list[str]:
    unit, target = figures["unit"], figures["target"]
    predicted = "" if figures["predicted"] is None else f"; {amount(figures['predicted'], unit)} predicted"
    if predicted and figures["table_error"] is not None:
        predicted += f" (the table of costs is off by {figures['table_error']:.2g} % on whole networks)"
    if target is None:
        found = [f"No target{predicted}."]
    else:
        missed = "" if figures["cost"] <= target else ", which is missed"
        share = percent(target / figures["reference"])
        found = [f"Target: {amount(target, unit)}, {share} of the original's{missed}{predicted}."]
    before = figures["kl_before"]
    tuned = "" if before == figures["kl"] else f"; {nats(before)} before finishing"
    found.append(
        f"KL(original ‖ compressed): {nats(figures['kl'])} nats on {figures['calibration_inputs']:,} inputs of the "
        f"training split{tuned}."
    )
    if figures["before"]:
        found.append(
            f"Quality: of {figures['judged_on']:,} examples of the validation split of {figures['data']}, which the "
            "search does not see."
        )
    found.append(_work(figures))
    whole = list(figures["whole"].items())
    for name, reason in whole[:_WHOLE]:
        found.append(f"{name} keeps all channels: {reason}.")
    if len(whole) > _WHOLE:
        found.append(f"{len(whole) - _WHOLE} more layers keep all channels; --json names them.")
    found.append(f"{figures['file']}: {figures['bytes']:,} bytes.")
    found.append(f"{figures['policy']}: the policy; --policy {figures['policy']} makes this network again.")
    found.append(f"{figures['report']}: the page with plots.")
    return found


def _work(figures: dict[str, Any]) -> str:
    parts = ", ".join(f"{name} {_minutes(seconds)}" for name, seconds in figures["seconds"].items())
    total = f"{_minutes(sum(figures['seconds'].values()))} min" + (f" ({parts})" if parts else "")
    if not figures["evaluations"]:
        return f"The policy was given; {total}."
    count = figures["evaluations"]
    tried = "1 policy was" if count == 1 else f"{count:,} policies were"
    return f"{tried} tried by {figures['searcher']}; {total}."


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f}"
