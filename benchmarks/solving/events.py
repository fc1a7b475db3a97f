"""Products with codes of few entries: reading only the rows of those, against a dense product."""

from __future__ import annotations

import functools
import statistics
from typing import Any

import torch
from torch import Tensor

from solving import clocks
from solving.problems import Settings
from szilard.sparse import ops

Row = dict[str, Any]
ATOMS, MEASURED, BATCH, SHARE = 4096, 1024, 256, 0.02  # of the figure
SHARES = (0.005, 0.01, SHARE, 0.05, 0.1, 0.2)
#: (atoms, length of a measurement, batch) of the table.
SHAPES = ((ATOMS, MEASURED, BATCH), (ATOMS, 256, BATCH), (ATOMS, MEASURED, 1), (500, 250, BATCH))


def codes(batch: int, n: int, share: float, seed: int) -> Tensor:
    """Codes with the same number of entries in each sample, at random places ``[batch, n]``."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.rand(batch, n, generator=generator).argsort(1)[:, : round(share * n)]
    values = torch.randn(places.shape, generator=generator)
    return torch.zeros(batch, n).scatter_(1, places, values)


def measured(settings: Settings) -> list[Row]:
    """A row for each shape and share, in float32."""
    rows = []
    for n, m, batch in SHAPES:
        generator = torch.Generator().manual_seed(n + m)
        atoms = torch.randn(n, m, generator=generator).to(settings.device)
        for share in SHARES:
            x = codes(batch, n, share, 0).to(settings.device)
            inner = max(1, 256 // batch)  # calls of one duration
            calls = {
                "event": functools.partial(_often, inner, ops.event_product, x, atoms),
                "chosen": functools.partial(_often, inner, ops.product, x, atoms, share),
                "dense": functools.partial(_often, inner, torch.matmul, x, atoms),
            }
            found = clocks.in_turns(calls, settings.repeats, settings.device)
            difference = ops.event_product(x, atoms).double() - x.double() @ atoms.double()
            rows.append({
                "atoms": n, "measured": m, "batch": batch, "share": share,
                **{f"{name}_seconds": statistics.median(found[name]) / inner for name in calls},
                "event_vs_dense": clocks.ratio(found, "event", "dense"),
                "chosen_vs_dense": clocks.ratio(found, "chosen", "dense"),
                "error": float(difference.abs().max()),
            })  # fmt: skip
    return rows


def _often(times: int, function: Any, *arguments: Any) -> None:
    for _ in range(times):
        function(*arguments)
