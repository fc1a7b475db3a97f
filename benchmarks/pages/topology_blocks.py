"""Blocks of docs/topology.md."""

from __future__ import annotations

import json
from typing import Any

import topology
from pages import results
from pages.results import lines, markdown


def section() -> dict[str, Any]:
    """The results of topology.py."""
    found: dict[str, Any] = json.loads("\n".join(lines("topology.json")))
    return found


def digits() -> str:
    """Every method on digits."""
    return markdown(topology.COLUMNS, topology.body(section()["rows"]))


def figures() -> str:
    """The keys of the last line."""
    return results.figures(section()["figures"])


def run() -> str:
    """How many seeds, and whether the run was a quick one."""
    found = section()
    seeds = len({row["seed"] for row in found["rows"]})
    return f"{seeds} seeds{', `--quick`' if found['quick'] else ''}."


BLOCKS = {"topology-run": run, "topology-digits": digits, "topology-figures": figures}
