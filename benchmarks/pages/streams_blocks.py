"""Blocks on streams, for any page that names them."""

from __future__ import annotations

import json
from typing import Any

from common import machine
from pages import results
from pages.results import NotMeasured, lines, markdown
from streaming import river_peers, stream_figures


def section() -> dict[str, Any]:
    """The results of streams.py."""
    found: dict[str, Any] = json.loads("\n".join(lines("streams.json")))
    return found


def measured_on() -> str:
    """Machine and durations, one line for the parts of one run."""
    found = section()
    together: dict[str, list[str]] = {}
    for part, run in found["runs"].items():
        together.setdefault(json.dumps(run, sort_keys=True), []).append(part)
    texts = []
    for text, parts in together.items():
        run = json.loads(text)
        used = sum(row["seconds"] for row in found["rows"] if row["part"] in parts)
        texts.append(
            f"- {', '.join(parts)}: {'`--quick`' if run['quick'] else 'full'}, {run['seconds'] / 60:.0f} minutes, "
            f"{used / 60:.0f} of a processor; {machine.line(run['machine'])}."
        )
    return "\n".join(texts)


def reading() -> str:
    """What the figures of Elec2 say."""
    return stream_figures.reading(section()["rows"])


def table(columns: tuple[str, ...], body: list[list[str]]) -> str:
    if not body:
        raise NotMeasured(f"streams.json has no {columns[0]}")
    return markdown(columns, body)


def labels() -> str:
    """Methods on labels, and which classifiers of river are missing."""
    rows = section()["rows"]
    text = table(stream_figures.LABEL_COLUMNS, stream_figures.label_body(rows))
    streams_of = {name: {row.get("stream") for row in rows if row["name"] == f"river, {name}"}
                  for name in river_peers.CLASSIFIERS}  # fmt: skip
    missing = [
        f"{name} ({title})"
        for name, streams in streams_of.items()
        for stream, title in stream_figures.STREAMS.items()
        if stream not in streams
    ]
    return f"{text}\n\nNot measured, of river: {', '.join(missing)}." if missing else text


def figures() -> str:
    """The keys of the last line."""
    return results.figures(stream_figures.figures(section()["rows"]))


BLOCKS = {
    "streams-machine": measured_on,
    "streams-reading": reading,
    "streams-log-odds": lambda: table(
        stream_figures.LOG_ODDS_COLUMNS, stream_figures.log_odds_body(section()["rows"])
    ),
    "streams-labels": labels,
    "streams-rates": lambda: table(stream_figures.RATE_COLUMNS, stream_figures.rate_body(section()["rows"])),
    "streams-resets": lambda: table(
        stream_figures.RESET_COLUMNS, stream_figures.reset_body(section()["rows"])
    ),
    "streams-faults": lambda: table(
        stream_figures.FAULT_COLUMNS, stream_figures.fault_body(section()["rows"])
    ),
    "streams-digits": lambda: table(
        stream_figures.DIGIT_COLUMNS, stream_figures.digit_body(section()["rows"])
    ),
    "streams-figures": figures,
}
