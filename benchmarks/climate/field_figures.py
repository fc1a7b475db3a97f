"""Figures of field.py and their gates, from its results."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from typing import Any

from climate import decoders, fields, memory

Row = dict[str, Any]
BITROUND = "BitRound + zstd"
#: Gate and goal of each figure: the sign, the value that it must reach, and the one that would be good.
GATES: dict[str, tuple[str, float, float | None]] = {
    "ratio_vs_best": ("≥", 1.05, 1.15),
    "wind_worst": ("≥", 0.98, 1.05),
    "z_worst": ("≥", 0.90, 1.0),
    "z_beside": ("≥", 0.75, None),
    "wind_vs_bitround_worst": ("≥", 2, None),
    "ratio_vs_best_era5": ("≥", 1.05, 1.25),
    "fit_once_loss_percent": ("≤", 5, 2),
    "encode_mb_per_s": ("≥", 10, 40),
    "decoders_identical": ("≥", 1, None),
    "bound_violations": ("≤", 0, None),
    "peak_mb": ("≤", 1500, None),
    "peak_growth_percent": ("≤", 5, None),
}
#: Least ratio of the best peer's bytes to ours in one cell, by what the cell is.
CELL_GATES = {"wind": 0.98, "z": 0.90, "beside": 0.75}


def figures(found: dict[str, Any]) -> dict[str, float | None]:
    """The keys of the last line; None for what was not measured."""
    by_cell = ratios(found)
    interim = {name: ratio for name, ratio in by_cell.items() if name.startswith("ERA-Interim")}
    counted = {name: ratio for name, ratio in interim.items() if not fields.BY_NAME[name].beside}
    era5 = [ratio for name, ratio in by_cell.items() if name not in interim]
    losses = [row["loss_percent"] for row in found.get("fit_once", [])]
    speeds = found.get("speed", [])
    peaks = found.get("memory", [])
    decoded = found.get("decoders", [])
    checked = _checked(found)
    return {
        "ratio_vs_best": _geometric_mean(counted.values()),
        "wind_worst": _least(ratio for name, ratio in counted.items() if kind(name) == "wind"),
        "z_worst": _least(ratio for name, ratio in counted.items() if kind(name) == "z"),
        "z_beside": _least(ratio for name, ratio in interim.items() if kind(name) == "beside"),
        "wind_vs_bitround_worst": _least(_against_bitround(found)),
        "ratio_vs_best_era5": _geometric_mean(era5),
        "fit_once_loss_percent": max(losses, default=None),
        "fit_once_loss_percent_median": statistics.median(losses) if losses else None,
        "encode_mb_per_s": _least(row["encode_mb_per_s"] for row in speeds),
        "decode_mb_per_s": _least(row["decode_mb_per_s"] for row in speeds),
        **{f"cell_{what}_mb_per_s": _least(_cell_speeds(found, what)) for what in ("encode", "decode")},
        "decoders_identical": float(decoders.identical(decoded)) if decoded else None,
        **checked,
        "peak_mb": max((row["peak_mb"] for row in peaks), default=None),
        "peak_growth_percent": memory.growth_percent(peaks),
    }


def best_peer(found: dict[str, Any], cell: str, codec: str | None = None) -> Row | None:
    """The peer's row with the fewest bytes that keeps the bound, of all codecs or of one."""
    rows = [
        row
        for entry in found.get("peers", [])
        if entry["cell"] == cell
        for row in entry["rows"]
        if row["holds"] and codec in (None, row["codec"])
    ]
    return min(rows, key=lambda row: row["bytes"], default=None)


def ours(found: dict[str, Any], cell: str) -> Row | None:
    """Our row of a cell."""
    return next((row for row in found.get("cells", []) if row["cell"] == cell), None)


def ratios(found: dict[str, Any]) -> dict[str, float]:
    """Bytes of the best peer over ours by cell, in the order of the cells."""
    pairs = {name: (best_peer(found, name), ours(found, name)) for name in fields.BY_NAME}
    return {name: peer["bytes"] / mine["bytes"] for name, (peer, mine) in pairs.items() if peer and mine}


def kind(cell: str) -> str | None:
    """Which gate of :data:`CELL_GATES` a cell has; None: none."""
    known = fields.BY_NAME[cell]
    if known.source != "ERA-Interim":
        return None
    return "beside" if known.beside else "wind" if known.variable in fields.WIND else known.variable


def cell_verdict(found: dict[str, Any], cell: str) -> str:
    """Whether a cell reaches its gate, by how much not, and against whom; and who is ahead."""
    name, peer, mine = kind(cell), best_peer(found, cell), ours(found, cell)
    if peer is None or mine is None:
        return ""
    ratio, gate = peer["bytes"] / mine["bytes"], None if name is None else CELL_GATES[name]
    if gate is not None and ratio < gate:
        return f"MISSED {gate:g} by {gate - ratio:.3f}, against {peer['codec']} ({peer['layout']})"
    ahead = f"{peer['codec']} is ahead" if ratio < 1 else ""
    return ", ".join(text for text in ("" if gate is None else f"≥ {gate:g}", ahead) if text)


def verdict(name: str, value: float | None) -> str:
    """Whether a figure reaches its gate and its goal."""
    if name not in GATES or value is None:
        return ""
    sign, gate, goal = GATES[name]
    if _short_of(sign, value, gate):
        return f"MISSED by {abs(value - gate):.3g}"
    if goal is not None and not _short_of(sign, value, goal):
        return "goal reached"
    return "reached"


def missed(found: dict[str, Any]) -> list[str]:
    """A sentence for each figure that misses its gate, and for each cell."""
    known = figures(found)
    lines = [
        f"{name} is {value:.4g}, and the gate is {GATES[name][0]} {GATES[name][1]:g}: {text}"
        for name, value in known.items()
        if value is not None and (text := verdict(name, value)).startswith("MISSED")
    ]
    verdicts = {cell: cell_verdict(found, cell) for cell in fields.BY_NAME}
    return lines + [f"{cell}: {text}" for cell, text in verdicts.items() if text.startswith("MISSED")]


def _short_of(sign: str, value: float, wanted: float) -> bool:
    return value > wanted if sign == "≤" else value < wanted


def _against_bitround(found: dict[str, Any]) -> Iterable[float]:
    for name, cell in fields.BY_NAME.items():
        if kind(name) == "wind" and cell.share in (1e-2, 1e-3):
            peer, mine = best_peer(found, name, BITROUND), ours(found, name)
            if peer and mine:
                yield peer["bytes"] / mine["bytes"]


def _cell_speeds(found: dict[str, Any], what: str) -> Iterable[float]:
    """Megabytes a second of each cell, measured once."""
    for row in found.get("cells", []):
        yield row["raw"] / 1e6 / row[f"{what}_seconds"]


def _checked(found: dict[str, Any]) -> dict[str, float | None]:
    real = [*found.get("cells", []), *found.get("fit_once", [])]
    made = found.get("promises", [])
    if not made:
        return {"bound_violations": None, "arrays_checked": None}
    return {
        "bound_violations": sum(row["violations"] for row in [*real, *made]),
        "arrays_checked": len(real) + sum(row["arrays"] for row in made),
    }


def _geometric_mean(values: Iterable[float]) -> float | None:
    logs = [math.log(value) for value in values]
    return math.exp(statistics.fmean(logs)) if logs else None


def _least(values: Iterable[float]) -> float | None:
    return min(values, default=None)
