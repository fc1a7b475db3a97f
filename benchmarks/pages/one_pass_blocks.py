"""Blocks of docs/one_pass.md."""

from __future__ import annotations

from typing import Any

import one_pass
from common import machine
from pages.results import NotMeasured, markdown, read
from prediction import agreement, latency, quality


def section() -> dict[str, Any]:
    """The results of one_pass.py."""
    return read("one_pass.jsonl")[-1]


def measured_on() -> str:
    """Machine and duration."""
    found = section()
    lines = []
    for part, run in found["runs"].items():
        how = "`--quick`" if run["quick"] else "full"
        lines.append(f"- {part}: {how}, {run['seconds'] / 60:.1f} minutes; {machine.line(run['machine'])}.")
    return "\n".join([f"Backends: {', '.join(found['backends'])}.", "", *lines])


def quality_table() -> str:
    """Accuracy, NLL and AUROC."""
    return markdown(quality.COLUMNS, quality.body(section()["quality"]))


def agreement_table() -> str:
    """Differences of the backends."""
    return markdown(agreement.COLUMNS, agreement.body(section()["agreement"]))


def latency_tables() -> str:
    """A table for each network."""
    found = section()
    names = one_pass.named(found)
    if not names:
        raise NotMeasured("latency in one_pass.jsonl")
    blocks = []
    for name in names:
        blocks.append(f"**{name}**" + _noise(latency.noise(found["latency"], name)))
        blocks.append(markdown(latency.COLUMNS, latency.body(found["latency"], name)))
    return "\n\n".join(blocks)


def _noise(reason: str) -> str:
    return f" (measured on a noisy machine: {reason})" if reason else ""


def figures() -> str:
    """The keys of the last line."""
    return markdown(one_pass.FIGURE_COLUMNS, one_pass.shown(one_pass.figures(section())))


BLOCKS = {
    "one-pass-machine": measured_on,
    "one-pass-quality": quality_table,
    "one-pass-agreement": agreement_table,
    "one-pass-latency": latency_tables,
    "one-pass-figures": figures,
}
