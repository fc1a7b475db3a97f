"""Reading of benchmarks/results/, and tables in Markdown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"


class NotMeasured(Exception):
    """The results of a block are missing in benchmarks/results/."""


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; the first column and columns of words are aligned to the left, columns of numbers to the right."""
    words = [all(row[place][:1].isalpha() for row in rows) for place in range(len(columns))]
    rule = "|---" + "".join("|---" if left else "|--:" for left in words[1:]) + "|"
    lines = ["| " + " | ".join(columns) + " |", rule]
    return "\n".join(
        lines + ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    )


def part(
    columns: Sequence[str], rows: Sequence[Sequence[str]], chosen: tuple[Sequence[str], Sequence[str]]
) -> str:
    """A table of chosen rows, by their first cell, with the first column and chosen other columns."""
    names, headings = chosen
    by_name = {row[0]: row for row in rows}
    places = [0, *(list(columns).index(heading) for heading in headings)]
    return markdown([columns[i] for i in places], [[by_name[name][i] for i in places] for name in names])


def lines(name: str) -> list[str]:
    try:
        return (RESULTS / name).read_text().splitlines()
    except FileNotFoundError as error:
        raise NotMeasured(name) from error


def read(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines(name)]


def last_line(name: str) -> dict[str, Any]:
    return json.loads(lines(name)[-1])["figures"]


def figures(found: dict[str, Any]) -> str:
    known = {name: value for name, value in found.items() if value is not None}
    return markdown(["figure", "value"], [[f"`{name}`", f"{value:.4g}"] for name, value in known.items()])
