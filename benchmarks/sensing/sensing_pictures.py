"""Pictures of compressed sensing: a photograph by method and ratio, its errors, atoms, and patches that fell back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.colors import ListedColormap

from sensing import sensing_figures
from sensing.contest import FISTA_DCT, FISTA_LEARNED, GUARDED, VARIATION, unpacked

#: Columns of the ladder, and their titles.
SHOWN = {
    FISTA_DCT: "FISTA,\ncosines",
    VARIATION: "total\nvariation",
    FISTA_LEARNED: "FISTA,\nlearned dictionary",
    "ALISTA": "ALISTA",
    "LISTA-CPSS": "LISTA-CPSS",
    GUARDED: "HyperLISTA\nwith its guard",
}
_WORST = 0.3  # error at the end of the colours, in units of white
_ATOM = 16
_ATOMS_IN_A_ROW = 20


def ladder(rows: list[dict[str, Any]], path: Path) -> None:
    """Write ``sensing_ladder.png``: for each ratio the part of a photograph, and below it the errors."""
    kept = [
        row for ratio in (10, 25, 50) for row in sensing_figures.of(rows, ratio, False)[:1] if "parts" in row
    ]
    columns = [name for name in SHOWN if all(name in row["parts"] for row in kept)]
    figure, panels = plt.subplots(
        2 * len(kept), len(columns) + 1, figsize=(1.45 * (len(columns) + 1), 3.05 * len(kept) + 0.7),
        squeeze=False, layout="constrained",
    )  # fmt: skip
    padding = {"w_pad": 0.01, "h_pad": 0.03, "wspace": 0.01, "hspace": 0.0}
    figure.get_layout_engine().set(**padding)  # type: ignore[union-attr]
    drawn = None
    for number, row in enumerate(kept):
        above, below = panels[2 * number], panels[2 * number + 1]
        original = unpacked(row["parts"]["original"])
        above[0].imshow(original, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        above[0].set_ylabel(f"{row['ratio']} %", fontsize=10)
        for panel, errors, name in zip(above[1:], below[1:], columns, strict=True):
            found = unpacked(row["parts"][name])
            panel.imshow(found, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            drawn = errors.imshow(
                found - original, cmap="PuOr", vmin=-_WORST, vmax=_WORST, interpolation="nearest"
            )
            decibels = -10 * np.log10(np.mean((found - original) ** 2))
            errors.set_xlabel(f"{decibels:.1f} dB", fontsize=8, labelpad=2)
        below[0].set_visible(False)
    for panel, title in zip(panels[0], ("original", *(SHOWN[name] for name in columns)), strict=True):
        panel.set_title(title, fontsize=8)
    for panel in panels.ravel():
        panel.set(xticks=[], yticks=[])
        panel.spines[:].set_visible(False)
    if drawn is not None:
        bar = figure.colorbar(
            drawn, ax=panels, orientation="horizontal", shrink=0.35, aspect=40, pad=0.02, fraction=0.03
        )
        bar.set_label("error, in units of white", fontsize=8)
        bar.set_ticks([-_WORST, 0, _WORST])
        bar.ax.tick_params(labelsize=7)
    _save(figure, path)


def atoms(found: dict[str, Any], path: Path) -> None:
    """Write ``sensing_atoms.png``: the atoms that training used most, from the upper left row by row."""
    values = unpacked(found["atoms"]) - 0.5
    values = values / np.abs(values).max(1, keepdims=True)
    rows = len(values) // _ATOMS_IN_A_ROW
    step = _ATOM + 2
    sheet = np.full((rows * step - 2, _ATOMS_IN_A_ROW * step - 2), np.nan)
    for number in range(rows * _ATOMS_IN_A_ROW):
        y, x = (step * place for place in divmod(number, _ATOMS_IN_A_ROW))
        sheet[y : y + _ATOM, x : x + _ATOM] = values[number].reshape(_ATOM, _ATOM)
    figure, panel = plt.subplots(figsize=(8, 8 * sheet.shape[0] / sheet.shape[1]), layout="constrained")
    panel.imshow(sheet, cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
    panel.set_axis_off()
    _save(figure, path)


def fallbacks(rows: list[dict[str, Any]], path: Path) -> None:
    """Write ``sensing_fallbacks.png``: patches whose small support was certified, and those that FISTA solved."""
    kept = [
        (ratio, noisy, row)
        for noisy in (False, True)
        for ratio in (10, 25, 50)
        for row in sensing_figures.of(rows, ratio, noisy)[:1]
        if "fell" in row
    ]
    figure, panels = plt.subplots(
        1, len(kept), figsize=(1.7 * len(kept) + 0.5, 3.0), squeeze=False, layout="constrained"
    )
    for panel, (ratio, noisy, row) in zip(panels[0], kept, strict=True):
        fell = unpacked(row["fell"])
        picture = unpacked(row["thinned"])
        height, width = fell.shape
        extent = (0.0, float(width), float(height), 0.0)
        panel.imshow(picture, cmap="gray", vmin=-0.6, vmax=1.3, extent=extent)
        panel.imshow(
            np.where(fell > 0.5, np.nan, 1.0), cmap=ListedColormap(["#0072b2"]), alpha=0.6, extent=extent,
            interpolation="nearest",
        )  # fmt: skip
        panel.set(xticks=[], yticks=[])
        panel.spines[:].set_visible(False)
        panel.set_title(f"{ratio} %, {sensing_figures.noise_words(noisy)}", fontsize=8)
        panel.set_xlabel(f"{100 * float((fell > 0.5).mean()):.0f} % fell back", fontsize=8)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=100, metadata={"Software": None}, bbox_inches="tight", pad_inches=0.05)
    plt.close(figure)


def draw(found: dict[str, Any], folder: Path) -> None:
    """Write all pictures."""
    ladder(found["rows"], folder / "sensing_ladder.png")
    atoms(found, folder / "sensing_atoms.png")
    fallbacks(found["rows"], folder / "sensing_fallbacks.png")
