"""How far the answers of the runtimes are from plain PyTorch's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from prediction.contestants import DRAWS
from szilard import deploy
from szilard.deploy import Prediction
from szilard.errors import SzilardError

Row = dict[str, Any]
COLUMNS = ("network", "backend", "mode", "answer", "aleatoric", "epistemic", "outputs, relative")


def rows(name: str, network: nn.Module, x: Tensor, runtimes: dict[str, tuple[str, ...]]) -> list[Row]:
    """Largest differences over a batch, in probabilities, in nats, and relative to the largest mean or variance."""
    found: list[Row] = []
    modes = dict.fromkeys(mode for names in runtimes.values() for mode in names)
    for mode in modes:
        wanted = deploy.compile(
            network, x, backend="eager", mode=mode, samples=DRAWS if mode == "samples" else None
        )(x)
        for backend, known in runtimes.items():
            if backend == "eager" or mode not in known:
                continue
            row: Row = {"network": name, "backend": backend, "mode": mode}
            try:
                given = deploy.compile(
                    network, x, backend=backend, mode=mode, samples=DRAWS if mode == "samples" else None
                )(x)
            except SzilardError as error:
                found.append({**row, "left_out": str(error)})
                continue
            found.append({**row, **differences(given, wanted)})
    return found


def differences(given: Prediction, wanted: Prediction) -> dict[str, float]:
    """Of two predictions of one batch."""
    found = {
        name: float((getattr(given, name) - getattr(wanted, name)).abs().max())
        for name in ("answer", "aleatoric", "epistemic")
    }
    relative = []
    for name in ("mean", "variance"):
        one, other = getattr(given, name), getattr(wanted, name)
        if one is not None and other is not None:
            relative.append(float((one - other).abs().max() / other.abs().max().clamp_min(1e-30)))
    return found | ({"outputs": max(relative)} if relative else {})


def largest(rows: Sequence[Row]) -> float | None:
    """Of all differences."""
    return max(
        (
            value
            for row in rows
            for key, value in row.items()
            if key in ("answer", "aleatoric", "epistemic", "outputs")
        ),
        default=None,
    )


def body(rows: Sequence[Row]) -> list[list[str]]:
    """The table's cells, under COLUMNS."""
    lines = []
    for row in rows:
        start = [row["network"], row["backend"], row["mode"]]
        if "left_out" in row:
            lines.append([*start, row["left_out"], "", "", ""])
            continue
        cells = [row.get(key) for key in ("answer", "aleatoric", "epistemic", "outputs")]
        lines.append([*start, *("" if cell is None else f"{cell:.1e}" for cell in cells)])
    return lines
