"""Blocks on Galen, for any page that names them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from common import machine
from pages.results import NotMeasured, lines, markdown
from policies import galen_figures, galen_tables, policy_tables
from policies.plan import DEFAULT, LABELS


def section() -> dict[str, Any]:
    """The results of galen.py."""
    found: dict[str, Any] = json.loads("\n".join(lines("galen.json")))
    return found


def table(columns: Sequence[str], body: Callable[[dict[str, Any]], list[list[str]]]) -> str:
    rows = body(section())
    if not rows:
        raise NotMeasured(f"galen.json has no table of {columns[0]}")
    return markdown(columns, rows)


def chain() -> str:
    """The table of the long chain."""
    return table(galen_tables.chain_columns(section()), galen_tables.chain_body)


def measured_on() -> str:
    """Machine, versions, dates and durations, one line for each part, and how much was searched and trained."""
    found = section()
    how = found["settings"]
    texts = [
        f"- {'`--quick`' if found['quick'] else 'full'}: seeds {', '.join(map(str, how['seeds']))}; "
        f"{how['evaluations']} policies for each search, {how['calibration']} calibration images; short fine-tuning "
        f"{how['short']:,} images once, long {how['long']:,} images {how['epochs']} times, unlabelled the calibration "
        f"images {how['unlabelled']} times; uniform policies in steps of 1/{how['shares']}; "
        f"{how['judged']:,} test images."
    ]
    for part, run in found["runs"].items():
        workers = "" if run["workers"] == 1 else f" of {run['workers']} processes"
        where = f"{machine.line(run['machine'])}, ONNX Runtime {run['onnxruntime']}"
        texts.append(f"- {part}: {run['date']}, {run['seconds'] / 60:.1f} minutes{workers}; {where}.")
    return "\n".join([*texts, *(f"- {note}." for note in galen_figures.notes(found))])


def reading() -> str:
    """The main figures in sentences, with what misses its gate."""
    found = section()
    known = galen_figures.figures(found)
    needed = ("latency_ratio_04", "drop_pt_04", "latency_ratio_06", "drop_pt_06")
    if any(known[name] is None for name in needed):
        raise NotMeasured("galen.json has no finished networks")
    accuracy = 100 * found["original"]["accuracy"]
    at = "; ".join(
        f"{known[f'latency_ratio_{key}']:.3f} of its time, {known[f'drop_pt_{key}']:.2f} points lost (target {target})"
        for key, target in (("04", "0.4"), ("06", "0.6"))
    )
    text = (
        f"ResNet-20 is right on {accuracy:.2f} % of the test images. Networks of the default searcher, "
        f"{LABELS[DEFAULT]}, after long fine-tuning: {at}"
    )
    if (points := known["drop_pt_06_unlabelled"]) is not None:
        text += f"; with unlabelled images only, {points:.2f} points at 0.6"
    sentences = [f"{text}."]
    for name, words in (
        ("best_minus_random_pt", "The best searcher against random policies at 0.4"),
        ("agent_minus_evolution_pt", "The agent against evolution"),
        ("best_minus_uniform_int8_pt", f"{LABELS[DEFAULT].capitalize()} against uniform int8 at its latency"),
    ):
        value = known[name]
        if value is not None:
            sentences.append(f"{words}: {value:+.2f} points.")
    missed = galen_figures.missed(found)
    if missed:
        return " ".join([*sentences, "Missed, and what bounds it:\n\n"]) + "\n".join(
            f"- {line}" for line in missed
        )
    quick = " Gates that rest on training are not judged with `--quick`." if found["quick"] else ""
    return " ".join(sentences) + f" No figure misses its gate.{quick}"


BLOCKS: dict[str, Callable[[], str]] = {
    "galen-reading": reading,
    "galen-machine": measured_on,
    "galen-figures": lambda: table(galen_tables.FIGURE_COLUMNS, galen_tables.figure_body),
    "galen-searchers": lambda: table(galen_tables.SEARCH_COLUMNS, galen_tables.search_body),
    "galen-levels": lambda: table(galen_tables.LEVEL_COLUMNS, galen_tables.level_body),
    "galen-policy": lambda: table(policy_tables.POLICY_COLUMNS, policy_tables.policy_body),
    "galen-layers": lambda: table(policy_tables.LAYER_COLUMNS, policy_tables.layer_body),
    "galen-empty": lambda: table(galen_tables.EMPTY_COLUMNS, galen_tables.empty_body),
    "galen-uniform": lambda: table(galen_tables.UNIFORM_COLUMNS, galen_tables.uniform_body),
    "galen-ranking": lambda: table(galen_tables.RANKING_COLUMNS, galen_tables.ranking_body),
    "galen-toy": lambda: table(galen_tables.TOY_COLUMNS, galen_tables.toy_body),
    "galen-chain": chain,
}
