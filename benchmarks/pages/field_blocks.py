"""Blocks on fields, for any page that names them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from climate import field_figures, field_tables, peers
from common import machine
from pages.results import NotMeasured, lines, markdown

SOME = (
    "ERA-Interim u 0.001",
    "ERA-Interim v 0.001",
    "ERA-Interim z 0.0003",
    "ERA5 members z 0.001",
    "ERA5 members t 0.001",
)


def section() -> dict[str, Any]:
    """The results of field.py."""
    found: dict[str, Any] = json.loads("\n".join(lines("field.json")))
    return found


def table(columns: tuple[str, ...], body: Callable[[dict[str, Any]], list[list[str]]]) -> str:
    rows = body(section())
    if not rows:
        raise NotMeasured(f"field.json has no {columns[0]}")
    return markdown(columns, rows)


def measured_on() -> str:
    """Machine, versions and durations, one line for each part."""
    found = section()
    texts = []
    for part, run in found["runs"].items():
        how = "`--quick`" if run["quick"] else "full"
        effort = "" if run["effort"] == 1 else f", fits with effort {run['effort']:g}"
        texts.append(
            f"- {part}: {how}{effort}, {run['seconds'] / 60:.0f} minutes; {machine.line(run['machine'])}."
        )
    versions = sorted({text for entry in found.get("peers", []) for text in entry["versions"].values()})
    return "\n".join([*texts, f"- peers: {', '.join(versions)}."])


def reading() -> str:
    """The main figures in sentences, with what misses its gate."""
    found = section()
    known = field_figures.figures(found)
    if known["ratio_vs_best"] is None:
        raise NotMeasured("field.json has no ratios")
    text = (
        f"On ten cells of ERA-Interim the best peer's store is {known['ratio_vs_best']:.3f} times ours (geometric "
        f"mean), {known['wind_worst']:.3f} on the worst wind and {known['z_worst']:.3f} on the worst geopotential"
    )
    if known["ratio_vs_best_era5"] is not None:
        text += f"; on members of ERA5 {known['ratio_vs_best_era5']:.3f}"
    missed = field_figures.missed(found)
    if not missed:
        return f"{text}. No figure misses its gate."
    return f"{text}. Missed:\n\n" + "\n".join(f"- {line}" for line in missed)


def promises() -> str:
    """How many values were judged, and what was found."""
    rows = section().get("promises", [])
    if not rows:
        raise NotMeasured("field.json has no promises")
    total = {
        key: sum(row[key] for row in rows)
        for key in ("arrays", "values", "coded", "refused", "violations", "seconds")
    }
    text = (
        f"{total['arrays']:,} generated arrays with {total['values']:,} values, of which {total['coded']:,} arrays "
        f"were coded with a network and the others stored as they are; {total['refused']:,} refused; "
        f"{total['violations']:,} values beyond the bound; {total['arrays'] / total['seconds']:.0f} arrays a second."
    )
    messages = [message for row in rows for message in row["messages"]]
    return text + "".join(f"\n- {message}" for message in messages[:20])


def broken() -> str:
    """Peers that do not keep a tolerance, or that all do."""
    rows = field_tables.broken_body(section())
    if not rows:
        return f"All of {', '.join(peers.PACKAGES)} kept their tolerance on every cell."
    return markdown(field_tables.BROKEN_COLUMNS, rows)


def some() -> str:
    """Ratios of some cells, for the README."""
    rows = [row[:6] for row in field_tables.cell_body(section()) if row[0] in SOME]
    if len(rows) != len(SOME):
        raise NotMeasured("field.json has not all cells")
    return markdown(field_tables.CELL_COLUMNS[:6], rows)


BLOCKS: dict[str, Callable[[], str]] = {
    "field-machine": measured_on,
    "field-reading": reading,
    "field-figures": lambda: table(field_tables.FIGURE_COLUMNS, field_tables.figure_body),
    "field-cells": lambda: table(field_tables.CELL_COLUMNS, field_tables.cell_body),
    "field-utility": lambda: table(field_tables.UTILITY_COLUMNS, field_tables.utility_body),
    "field-broken": broken,
    "field-fit-once": lambda: table(field_tables.FIT_COLUMNS, field_tables.fit_body),
    "field-speed": lambda: table(field_tables.SPEED_COLUMNS, field_tables.speed_body),
    "field-decoders": lambda: table(field_tables.DECODER_COLUMNS, field_tables.decoder_body),
    "field-memory": lambda: table(field_tables.MEMORY_COLUMNS, field_tables.memory_body),
    "field-promises": promises,
    "field-some": some,
}
