"""Tables of galen.py by layer: what policies keep, and the milliseconds of layers."""

from __future__ import annotations

from typing import Any

from policies.plan import DEFAULT

Row = dict[str, Any]
Found = dict[str, Any]
POLICY_COLUMNS = ("layer", "channels", "kept, bits: by seed")
LAYER_COLUMNS = (
    "layers of one shape", "number", "channels in, out", "million multiply-adds", "ms", "half of the channels",
    "a quarter", "int8", "ms of all",
)  # fmt: skip


def policy_body(found: Found, target: str = "0.4") -> list[list[str]]:
    """The default searcher's policies for a target, under POLICY_COLUMNS; 32 bits are not named."""
    rows = [
        row
        for row in found.get("searches", [])
        if (row["searcher"], row["target"]) == (DEFAULT, target) and row["trials"]
    ]
    sizes: dict[str, int] = next((row["sizes"] for row in rows if "sizes" in row), {})
    body = []
    for place, name in enumerate(sizes):
        cells = []
        for row in rows:
            _, kept, weight_bits, _ = row["policy"][place]
            cells.append(f"{kept}" + ("" if weight_bits == 32 else f" at {weight_bits} bits"))
        body.append([name, str(sizes[name]), "; ".join(cells)])
    return body


def layer_body(found: Found) -> list[list[str]]:
    """Milliseconds of layers with fewer inputs and outputs, as shares of all channels, under LAYER_COLUMNS."""
    body = []
    for row in found.get("bounds", {}).get("layers", []):
        whole, count = row["all"], len(row["layers"])
        body.append([
            row["layers"][0] if count == 1 else f"{row['layers'][0]} ... {row['layers'][-1]}",
            str(count),
            ", ".join(map(str, row["sizes"])),
            f"{row['macs'] / 1e6:.3g}",
            f"{whole:.4f}",
            *(f"{row[kind] / whole:.2f}" for kind in ("half", "quarter", "int8")),
            f"{whole * count:.3f}",
        ])  # fmt: skip
    return body
