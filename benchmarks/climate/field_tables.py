"""Tables of field.py, from its results."""

from __future__ import annotations

from typing import Any

from climate import field_figures, fields, peers
from climate.field_figures import GATES, best_peer, figures, ours, ratios, verdict

OURS = "Szilard"
FIGURE_COLUMNS = ("figure", "value", "gate", "goal", "")
CELL_COLUMNS = (
    "field, bound over range",
    OURS,
    *peers.PACKAGES,
    "best peer / Szilard, bytes",
    "best peer",
    "gate",
)
UTILITY_COLUMNS = (
    "field, bound over range",
    "codec",
    "ratio",
    "power of the worst octave %",
    "its waves",
    "99.9 % quantile, bounds",
    "area mean, bounds",
    "RMS error, bounds",
    "DSSIM",
)
BROKEN_COLUMNS = ("field, bound over range", "codec", "options", "layout", "values beyond the bound")
FIT_COLUMNS = ("variable, bound over range", "weights of the first month", "its own weights", "loss %")
SPEED_COLUMNS = ("array", "bits a value", "encode MB / s", "decode MB / s")
DECODER_COLUMNS = ("decoder", "threads", "streams", "same bits as numpy")
MEMORY_COLUMNS = ("float32 MB", "peak MB", "store MB", "seconds")


def figure_body(found: dict[str, Any]) -> list[list[str]]:
    """All figures, under FIGURE_COLUMNS."""
    body = []
    for name, value in figures(found).items():
        if value is not None:
            sign, gate, goal = GATES.get(name, ("", None, None))
            limits = ["" if limit is None else f"{sign} {limit:g}" for limit in (gate, goal)]
            body.append(
                [name, f"{value:.4g}" if value < 10_000 else f"{value:,.0f}", *limits, verdict(name, value)]
            )
    return body


def cell_body(found: dict[str, Any]) -> list[list[str]]:
    """Ratios of raw bytes to those of stores, the best of each codec, under CELL_COLUMNS."""
    body = []
    by_cell = ratios(found)
    for name in fields.BY_NAME:
        mine = ours(found, name)
        if mine is None:
            continue
        rows = [best_peer(found, name, codec) for codec in peers.PACKAGES]
        best = best_peer(found, name)
        body.append([
            name,
            f"{mine['raw'] / mine['bytes']:.1f}",
            *("" if row is None else f"{mine['raw'] / row['bytes']:.1f}" for row in rows),
            f"{by_cell[name]:.3f}" if name in by_cell else "",
            "" if best is None else f"{best['codec']}, {best['options']}, {best['layout']}",
            field_figures.cell_verdict(found, name),
        ])  # fmt: skip
    return body


def utility_body(found: dict[str, Any], shares: tuple[float, ...] | None = None) -> list[list[str]]:
    """What each codec's best store does to a field, under UTILITY_COLUMNS; of all bounds or of some."""
    body = []
    for name, cell in fields.BY_NAME.items():
        mine = ours(found, name)
        if mine is None or (shares is not None and cell.share not in shares):
            continue
        entry = next((entry for entry in found.get("peers", []) if entry["cell"] == name), {"best": {}})
        for codec, best in {OURS: mine["best"], **entry["best"]}.items():
            row = mine if codec == OURS else best_peer(found, name, codec)
            if row is None:
                continue
            waves, power = max(best["power"].items(), key=lambda pair: abs(pair[1]))
            body.append([
                name,
                codec,
                f"{mine['raw'] / row['bytes']:.1f}",
                f"{100 * power:+.2f}",
                waves,
                f"{best['quantile']:.2f}",
                f"{best['bias']:.3f}",
                f"{best['rms']:.2f}",
                f"{best['dssim']:.4f}",
            ])  # fmt: skip
    return body


def broken_body(found: dict[str, Any]) -> list[list[str]]:
    """Peers that do not keep the bound if it is their tolerance, under BROKEN_COLUMNS."""
    return [
        [entry["cell"], row["codec"], row["options"], row["layout"], f"{row['violations']:,}"]
        for entry in found.get("peers", [])
        for row in entry["rows"]
        if row["violations"]
    ]


def fit_body(found: dict[str, Any]) -> list[list[str]]:
    """Weights of another month, under FIT_COLUMNS."""
    return [
        [
            f"{row['variable']} {row['share']:g}",
            f"{row['other_month']:,}",
            f"{row['own_month']:,}",
            f"{row['loss_percent']:.2f}",
        ]
        for row in sorted(found.get("fit_once", []), key=lambda row: (row["variable"], -row["share"]))
    ]


def speed_body(found: dict[str, Any]) -> list[list[str]]:
    """Speed of a fitted codec, under SPEED_COLUMNS."""
    return [
        [
            row["array"],
            f"{row['bits_per_value']:.2f}",
            *(f"{row[f'{what}_mb_per_s']:.1f}" for what in ("encode", "decode")),
        ]
        for row in found.get("speed", [])
    ]


def decoder_body(found: dict[str, Any]) -> list[list[str]]:
    """Decoders of the machine, under DECODER_COLUMNS."""
    rows = found.get("decoders", [])
    return [
        [
            row["decoder"],
            str(row["threads"]),
            str(len(row["crcs"])),
            "yes" if row["crcs"] == rows[0]["crcs"] else "NO",
        ]
        for row in rows
    ]


def memory_body(found: dict[str, Any]) -> list[list[str]]:
    """Memory of writing large stores, under MEMORY_COLUMNS."""
    return [
        [
            f"{row['megabytes']:,}",
            f"{row['peak_mb']:.0f}",
            f"{row['store_bytes'] / 1e6:.1f}",
            f"{row['seconds']:.0f}",
        ]
        for row in sorted(found.get("memory", []), key=lambda row: row["megabytes"])
    ]
