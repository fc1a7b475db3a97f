"""Write the benchmark tables of README.md and docs/results.md from benchmarks/results/.

    python benchmarks/render.py

Each table stands between ``<!-- begin NAME -->`` and ``<!-- end -->``; nothing between them is typed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import fashion
import uci

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
SHORT = (0, 1, 2, 4, 6, 7, 8, 9, 10)  # columns of the README's table


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|---" + "|--:" * (len(columns) - 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def read(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (RESULTS / name).read_text().splitlines()]


def last_line(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / name).read_text().splitlines()[-1])["figures"]


def fashion_table(regime: str, columns: Sequence[int] | None = None) -> str:
    chosen = columns or range(len(fashion.COLUMNS))
    rows = fashion.body(fashion.by_row(read("fashion.jsonl"), regime))
    return markdown([fashion.COLUMNS[c] for c in chosen], [[row[c] for c in chosen] for row in rows])


def fashion_figures() -> str:
    runs = read("fashion.jsonl")
    return figures(fashion.figures({regime: fashion.by_row(runs, regime) for regime in fashion.REGIMES}))


def figures(found: dict[str, Any]) -> str:
    return markdown(["figure", "value"], [[f"`{name}`", f"{value:.4g}"] for name, value in found.items()])


def validation(regime: str) -> str:
    return markdown(*fashion.candidates_table(read("fashion_select.jsonl"), regime))


def uci_table() -> str:
    return markdown(uci.COLUMNS, uci.body(read("uci.jsonl")))


TABLES: dict[str, Callable[[], str]] = {
    "fashion-all": lambda: fashion_table("all"),
    "fashion-small": lambda: fashion_table("small"),
    "fashion-all-short": lambda: fashion_table("all", SHORT),
    "fashion-small-short": lambda: fashion_table("small", SHORT),
    "fashion-figures": fashion_figures,
    "fashion-validation-all": lambda: validation("all"),
    "fashion-validation-small": lambda: validation("small"),
    "exactness": lambda: figures(last_line("exactness.txt")),
    "uci": uci_table,
}


def main() -> None:
    for page in (ROOT / "README.md", ROOT / "docs" / "results.md"):
        text = page.read_text()
        for name in re.findall(r"<!-- begin (\S+) -->", text):
            block = f"<!-- begin {name} -->\n\n{TABLES[name]()}\n\n<!-- end -->"
            text = re.sub(rf"<!-- begin {name} -->.*?<!-- end -->", lambda _: block, text, flags=re.S)  # noqa: B023
        page.write_text(text)


if __name__ == "__main__":
    main()
