"""What ``szilard solve`` prints: how many samples are certified by what, and what does not fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from szilard.cli.table import Column, Table, say_wrapped, show
from szilard.errors import printable

if TYPE_CHECKING:
    import numpy as np

MEANS = {
    "support": "least squares on these entries explains the measurements",
    "lasso": "the minimum of ½‖b - A x‖² + λ‖x‖₁, to its duality gap",
    "none": "neither: do not trust these codes",
}


def rows(arrays: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """For each certificate that a sample has: how many, and their entries and residuals."""
    import numpy as np

    found: list[dict[str, Any]] = []
    for name, meaning in MEANS.items():
        chosen = arrays["certificate"] == name
        if not chosen.any():
            continue
        entries = np.count_nonzero(arrays["x"][chosen], axis=1)
        residuals = arrays["residual"][chosen]
        found.append(
            {
                "certificate": name,
                "samples": int(chosen.sum()),
                "median_entries": float(np.median(entries)),
                "most_entries": int(entries.max()),
                "median_residual": float(np.median(residuals)),
                "largest_residual": float(residuals.max()),
                "meaning": meaning,
            }
        )
    return found


def show_solved(
    found: Sequence[dict[str, Any]],
    out: Path,
    solver: str,
    shape: tuple[int, int],
    fell: int,
    *,
    seconds: float,
    wide: bool,
) -> None:
    """Print the table.

    Args:
        found: as :func:`rows`.
        out: the file that was written.
        solver: in words.
        shape: of the codes.
        fell: how many samples FISTA with continuation solved again.
        seconds: of the whole command.
        wide: all columns, however wide the terminal is.
    """
    columns = [
        Column(["certificate"], [one["certificate"] for one in found], right=False),
        Column(["samples"], [f"{one['samples']:,}" for one in found]),
        Column(["entries", "median"], [f"{one['median_entries']:,.0f}" for one in found], worth=30),
        Column(["entries", "most"], [f"{one['most_entries']:,}" for one in found], worth=10),
        Column(["residual", "median"], [f"{one['median_residual']:.1e}" for one in found], worth=40),
        Column(["residual", "largest"], [f"{one['largest_residual']:.1e}" for one in found], worth=20),
    ]
    samples, codes = shape
    title = f"{printable(str(out), 200)}: {samples:,} samples of {codes:,} codes, in {seconds:,.1f} s"
    show(Table(columns, title=title, transposes=True), wide=wide)
    again = f" It left {fell:,} of {samples:,} samples to FISTA with continuation." if fell else ""
    say_wrapped(f"Solver: {solver}.{again}")
    say_wrapped(
        "Residuals are ‖b - A x‖ / ‖b‖. "
        + " ".join(f"{one['certificate']}: {one['meaning']}." for one in found)
    )
