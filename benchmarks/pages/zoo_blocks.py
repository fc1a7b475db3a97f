"""Blocks of docs/any_network.md and docs/any_training.md."""

from __future__ import annotations

import json
from typing import Any

import any_training
from common import machine
from pages.results import NotMeasured, lines, markdown, read


def any_part(name: str) -> list[dict[str, Any]]:
    """A part of the results of any_network.py."""
    section = read("any_network.jsonl")[-1]
    if name not in section:
        raise NotMeasured(f"{name} in any_network.jsonl")
    return section[name]  # type: ignore[no-any-return]


def trained() -> str:
    """Networks from packages, compared with rounding by row."""
    found = json.loads("\n".join(lines("any_trained.json")))
    rows = []
    for name in ("minilm", "resemblyzer", "silero"):
        for key, data in (("", "yes"), ("no_data_", "none")):
            ours, theirs = found.get(f"{name}_{key}bytes"), found.get(f"{name}_{key}rounding_bytes")
            if ours is None:
                continue
            ratio = "" if theirs is None else f"{ours / theirs:.3f}"
            error = f"{found[f'{name}_{key}error']:.2g}"
            rows.append([name, data, f"{ours:,}", error, "" if theirs is None else f"{theirs:,}", ratio])
    columns = ("network", "data", "bytes", "error", "rounding by row, bytes", "ours / theirs")
    text = markdown(columns, rows)
    if found.get("minilm_seconds"):
        text += (
            f"\n\nThe sentence encoder took {found['minilm_seconds']:.0f} s with data, and at most "
            f"{found['minilm_peak_over_weights']:.2f} times the memory of its weights in addition to the network."
        )
    return text


def any_machine() -> str:
    """Machine and duration."""
    section = read("any_network.jsonl")[-1]
    took = ", ".join(f"{part} {seconds / 60:.0f} minutes" for part, seconds in section["seconds"].items())
    return f"{took}: {machine.line(section['machine'])}."


def training() -> dict[str, Any]:
    """The results of any_training.py."""
    return read("any_training.jsonl")[-1]


def training_part(name: str) -> list[dict[str, Any]]:
    """The cells of networks or of tables."""
    if name not in training():
        raise NotMeasured(f"{name} in any_training.jsonl")
    return training()[name]  # type: ignore[no-any-return]


def training_table(name: str) -> str:
    """The verdicts of networks or of tables."""
    return markdown(any_training.COLUMNS, any_training.body(training_part(name)))


def training_machine() -> str:
    """Machine and duration."""
    took = ", ".join(f"{name} {seconds / 60:.1f} minutes" for name, seconds in training()["seconds"].items())
    return f"{took}: {machine.line(training()['machine'])}."


def training_faults() -> str:
    """The cells that are wrong or crashed."""
    rows = any_training.faults(any_training.tried(training()))
    return markdown(any_training.FAULT_COLUMNS, rows) if rows else "None."


def training_figures() -> str:
    """The figures by key, with a reason if a figure is missing."""
    rows = []
    for name, value in any_training.figures(training()).items():
        shown = value if isinstance(value, bool) or value is None else f"{value:.4g}"
        rows.append([f"`{name}`", any_training.missing(training(), name) if value is None else str(shown)])
    return markdown(["figure", "value"], rows)
