"""Pictures of field.py: ratios by bound, and what errors look like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from climate import field_figures, fields, ours, peers
from climate.field_tables import OURS

#: Colour, marker and width of each codec. Okabe and Ito (2008): colour-blind people tell these colours apart.
WAYS: dict[str, tuple[str, str, float]] = {
    OURS: ("#0072b2", "o", 2.0),
    "SZ3": ("#d55e00", "^", 1.2),
    "SPERR": ("#009e73", "s", 1.2),
    "ZFP": ("#cc79a7", "v", 1.2),
    "BitRound + zstd": ("#999999", "D", 1.2),
}
_EXACT = ("BitRound + zstd",)  # at the pictured bound: the source has no more bits
_NEAR = 0.8, 4.2  # of the lower panels: peers that are near


def ratio(found: dict[str, Any], path: Path) -> None:
    """Write ``field_ratio.png``: above, bytes of float32 over those of stores; below, a peer's bytes over ours."""
    columns = [(source, name) for source, names in fields.SHARES.items() for name in names]
    figure, rows = plt.subplots(
        2,
        len(columns),
        figsize=(10, 5),
        sharex=True,
        sharey="row",
        layout="constrained",
        height_ratios=(3, 2),
    )
    for (source, name), above, below in zip(columns, *rows, strict=True):
        above.set_title(f"{source} {name}", fontsize=9)
        for codec in WAYS:
            _lines(found, source, name, codec, above, below)
        above.set(xscale="log", yscale="log")
        below.axhline(1, color=WAYS[OURS][0], linewidth=WAYS[OURS][2], zorder=1.5)
        below.set(yscale="log", ylim=_NEAR)
        below.set_yticks([1, 2, 4], labels=["1", "2", "4"])
        below.minorticks_off()
        below.invert_xaxis()
        for panel in (above, below):
            panel.grid(axis="y", color="#eeeeee", linewidth=0.8)
            panel.set_axisbelow(True)
            panel.xaxis.set_minor_locator(NullLocator())
    rows[0, 0].set_yticks(
        [2, 5, 10, 20, 50, 100, 200, 500, 1000], labels=map(str, (2, 5, 10, 20, 50, 100, 200, 500, 1000))
    )
    rows[0, 0].yaxis.set_minor_locator(NullLocator())
    rows[0, 0].set_ylabel("float32 bytes / store bytes")
    rows[1, 0].set_ylabel("peer's bytes / Szilard's")
    figure.supxlabel("bound / range of the variable; to the right errors are smaller", fontsize=9)
    handles, labels = rows[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(WAYS), frameon=False)
    _save(figure, path)


def _lines(found: dict[str, Any], source: str, name: str, codec: str, above: Axes, below: Axes) -> None:
    colour, marker, width = WAYS[codec]
    shares, sizes, relative = [], [], []
    for share in fields.SHARES[source][name]:
        cell = fields.Cell(source, name, share).name
        mine = field_figures.ours(found, cell)
        row = mine if codec == OURS else field_figures.best_peer(found, cell, codec)
        if mine and row:
            shares.append(share)
            sizes.append(mine["raw"] / row["bytes"])
            relative.append(row["bytes"] / mine["bytes"])
    style = {"color": colour, "marker": marker, "linewidth": width, "markersize": 4}
    above.plot(shares, sizes, label=codec, **style)
    if codec != OURS and relative and min(relative) < _NEAR[1]:
        below.plot(shares, relative, **style)


def errors(found: dict[str, Any], path: Path) -> None:
    """Write ``field_errors.png``: a wind, errors of three codecs on a map, their distribution and their spectra."""
    mine = field_figures.ours(found, ours.PICTURED)
    entry = next(entry for entry in found["peers"] if entry["cell"] == ours.PICTURED)
    assert mine is not None
    best = {OURS: mine["best"], **entry["best"]}
    figure = plt.figure(figsize=(10, 6), layout="constrained")
    figure.get_layout_engine().set(wspace=0.06)  # type: ignore[union-attr]
    grid = figure.add_gridspec(2, 1, height_ratios=(3, 2.6))
    maps = grid[0].subgridspec(2, 2).subplots(sharex=True, sharey=True)
    extent = (-90.0, 30.75, 20.25, 80.25)
    field = ours.unpacked(mine["best"]["field"]) * ours.FASTEST
    settings = {"extent": extent, "interpolation": "nearest", "aspect": "auto"}
    drawn = maps[0, 0].imshow(field, cmap="cividis", **settings)
    maps[0, 0].set_title("eastward wind at 200 hPa, January", fontsize=9)
    figure.colorbar(drawn, ax=maps[:, 0], label="m/s", shrink=0.9, location="left")
    shown = dict(zip((OURS, "SZ3", "SPERR"), (maps[0, 1], maps[1, 0], maps[1, 1]), strict=True))
    for codec, panel in shown.items():
        drawn = panel.imshow(ours.unpacked(best[codec]["picture"]), cmap="PuOr", vmin=-1, vmax=1, **settings)
        size = (mine if codec == OURS else field_figures.best_peer(found, ours.PICTURED, codec) or {})[
            "bytes"
        ]
        panel.set_title(f"errors of {codec}, {size / 1000:.0f} kB", fontsize=9)
    for panel in maps.ravel():
        panel.set_xticks([-60, -30, 0], labels=["60° W", "30° W", "0°"])
        panel.set_yticks([20, 50, 80], labels=["20° N", "50° N", "80° N"])
        panel.tick_params(length=2, labelsize=8)
        panel.spines[:].set_visible(False)
    figure.colorbar(drawn, ax=maps[:, 1], label="error / bound", shrink=0.9)
    left, right = grid[1].subgridspec(1, 2).subplots()
    _distribution(best, left)
    _spectra(best, right)
    _save(figure, path)


def _distribution(best: dict[str, Any], panel: Axes) -> None:
    for codec, (colour, _, width) in WAYS.items():
        if codec in best and codec not in _EXACT:
            shares = np.array(best[codec]["errors"])
            edges = np.linspace(-1, 1, len(shares) + 1)
            panel.stairs(shares * len(shares) / 2, edges, color=colour, linewidth=width, label=codec)
    panel.set(xlabel="error / bound", ylabel="density", xlim=(-1, 1), ylim=(0, 2.5))
    panel.legend(frameon=False, fontsize=8)


def _spectra(best: dict[str, Any], panel: Axes) -> None:
    waves = best[OURS]["waves"]
    panel.plot(waves, best[OURS]["spectrum"], color="#000000", linewidth=1.5)
    panel.annotate("the wind", (waves[7], best[OURS]["spectrum"][7]), (6, 4), textcoords="offset points")
    for codec, (colour, _, width) in WAYS.items():
        if codec in best and codec not in _EXACT:
            panel.plot(waves, best[codec]["error_spectrum"], color=colour, linewidth=width)
    panel.set(xscale="log", yscale="log", xlabel="waves around the Earth", ylabel="power, any unit")
    panel.annotate("errors", (waves[7], best[OURS]["error_spectrum"][7]), (6, 6), textcoords="offset points")


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=150, metadata={"Software": None})
    plt.close(figure)


def draw(found: dict[str, Any], folder: Path) -> None:
    """Write both pictures."""
    ratio(found, folder / "field_ratio.png")
    errors(found, folder / "field_errors.png")


assert set(WAYS) == {OURS, *peers.PACKAGES}
