"""Blocks of docs/priors.md."""

from __future__ import annotations

import json
from typing import Any

import few_labels
from pages import results
from pages.results import lines, markdown


def section() -> dict[str, Any]:
    """The results of few_labels.py."""
    found: dict[str, Any] = json.loads("\n".join(lines("few_labels.json")))
    return found


def table() -> str:
    """Every target and way to train, and over how many seeds."""
    found = section()
    seeds = len({row["seed"] for row in found["rows"]})
    run = f"{seeds} seeds{', `--quick`' if found['quick'] else ''}."
    return f"{run}\n\n{markdown(few_labels.COLUMNS, few_labels.body(found['rows']))}"


def chosen() -> str:
    """What folds chose, by target and seed."""
    return f"Chosen by folds: {few_labels.choices(section()['rows'])}."


BLOCKS = {
    "few-labels": table,
    "few-labels-chosen": chosen,
    "few-labels-figures": lambda: results.figures(few_labels.figures(section()["rows"])),
}
