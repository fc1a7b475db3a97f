"""Blocks on compressed sensing, for any page that names them."""

from __future__ import annotations

import json
from typing import Any

from common import machine
from pages import results
from pages.results import NotMeasured, lines, markdown
from sensing import sensing_figures
from sensing.measuring import RATIOS


def section() -> dict[str, Any]:
    """The results of compressed_sensing.py."""
    found: dict[str, Any] = json.loads("\n".join(lines("compressed_sensing.json")))
    return found


def measured_on() -> str:
    """Machine, duration, seeds and steps of each part."""
    found = section()
    texts = []
    for part, key in (("cells", "rows"), ("denoise", "denoised")):
        if part in found["runs"]:
            run, rows = found["runs"][part], found[key]
            seeds = len({row["seed"] for row in rows})
            steps = " or ".join(map(str, sorted({row["steps"] for row in rows})))
            texts.append(
                f"- {part}: {'`--quick`' if run['quick'] else 'full'}, {run['seconds'] / 60:.0f} minutes, "
                f"{sum(row['seconds'] for row in rows) / 60:.0f} of a processor, {seeds} seed{'s' * (seeds > 1)}, "
                f"{steps} steps of training; {machine.line(run['machine'])}."
            )
    return "\n".join(texts)


def denoising() -> str:
    """Denoising by convolutional dictionaries."""
    body = sensing_figures.denoising_body(section()["denoised"])
    if not body:
        raise NotMeasured("denoising in compressed_sensing.json")
    return markdown(sensing_figures.DENOISING_COLUMNS, body)


def cells() -> str:
    """A table for each cell that was measured."""
    texts = []
    for ratio in RATIOS:
        for noisy in (False, True):
            body = sensing_figures.body(section()["rows"], ratio, noisy)
            if body:
                title = f"{ratio} %, {sensing_figures.noise_words(noisy)}"
                texts.append(f"**{title}**\n\n{markdown(sensing_figures.COLUMNS, body)}")
    if not texts:
        raise NotMeasured("rows in compressed_sensing.json")
    return "\n\n".join(texts)


def choice() -> str:
    """How FISTA's λ and iterations were chosen at 25 %, without noise."""
    return markdown(sensing_figures.CHOICE_COLUMNS, sensing_figures.choice_body(section()["rows"], 25, False))


def figures() -> str:
    """The keys of the last line, and sentences on those that miss a gate or a goal."""
    found = section()
    known = sensing_figures.figures(found["rows"], found["denoised"])
    sentences = [f"- {line}." for line in sensing_figures.missed(known)]
    return "\n\n".join([results.figures(known), *(["\n".join(sentences)] if sentences else [])])


BLOCKS = {
    "sensing-machine": measured_on,
    "sensing-reading": lambda: sensing_figures.reading(section()["rows"]),
    "sensing-cells": cells,
    "sensing-choice": choice,
    "sensing-denoising": denoising,
    "sensing-figures": figures,
}
