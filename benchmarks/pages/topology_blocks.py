"""Blocks of docs/topology.md."""

from __future__ import annotations

import json
from typing import Any

import tickets
import topology
import topology_images
from pages import results
from pages.results import NotMeasured, lines, markdown


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


def of_images(task: str) -> str:
    """Every method on one set of images, and over how many seeds."""
    rows = [row for row in map(json.loads, lines("topology_images.jsonl")) if row["task"] == task]
    if not rows:
        raise NotMeasured(f"topology_images.jsonl has no run on {task}")
    seeds = len({row["seed"] for row in rows})
    # Runs that are added later, on another day, cannot be compared in seconds.
    columns = [place for place, column in enumerate(topology.COLUMNS) if column != "seconds"]
    body = [[row[place] for place in columns] for row in topology.body(topology_images.ordered(rows))]
    table = markdown([topology.COLUMNS[place] for place in columns], body)
    return f"{seeds} seed{'' if seeds == 1 else 's'}.\n\n{table}"


def of_tickets(kind: str) -> str:
    """Tickets of one kind, without columns that are empty."""
    body = tickets.body([row for row in map(json.loads, lines("tickets.jsonl")) if row["kind"] == kind])
    columns = [place for place in range(len(tickets.COLUMNS)) if any(row[place] for row in body)]
    return markdown(
        [tickets.COLUMNS[place] for place in columns], [[row[place] for place in columns] for row in body]
    )


def ticket_figures() -> str:
    """The keys of the last line of tickets.py."""
    return results.figures(tickets.figures([json.loads(line) for line in lines("tickets.jsonl")]))


BLOCKS = {
    "tickets-posterior": lambda: of_tickets("posterior"),
    "tickets-elastic": lambda: of_tickets("elastic"),
    "tickets-early-bird": lambda: of_tickets("early-bird"),
    "tickets-figures": ticket_figures,
    "topology-fashion": lambda: of_images("fashion"),
    "topology-cifar": lambda: of_images("cifar"),
    "topology-run": run,
    "topology-digits": digits,
    "topology-figures": figures,
}
