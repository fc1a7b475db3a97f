"""Test of λ: bytes must decrease with λ, and plain rounding must not have a lower F = loss + λ · bits.

Plain rounding rounds every weight of the network (after ``CanonicalBatchNorm``) to the nearest level. All tensors have
the same step relative to their standard deviations, and use the same coder and file format.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from files.ablation import WHOLE, Loss, point, variants
from files.pretrained import Case
from szilard.compression import (
    CanonicalBatchNorm,
    Draft,
    Quantise,
    QuantiseVectors,
    Setting,
    sequential_rounding,
)
from szilard.compression.draft import STEPS

COLUMNS = ["λ, nats / bit", "bytes", "KL, millinats", "F, nats", "least F of plain rounding, nats"]
SHARES = tuple(2 ** (i / 2 - 4) for i in range(9))  # steps: 1/16 to 1 standard deviation


class Plain(Quantise):
    """Rounds every weight to the nearest level; the step is a multiple of the tensor's standard deviation."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def __call__(self, draft: Draft, setting: Setting) -> None:
        for name, tensor in draft.network.state_dict().items():
            if tensor.dim() < 2 or not tensor.is_floating_point():
                continue
            matrix = tensor.reshape(len(tensor), -1)
            step = round(STEPS * math.log2(self.share * matrix.std().item()))
            draft.set(name, sequential_rounding.nearest(matrix, step))


def measure(
    case: Case, loss: Loss, lam: float, points: int, progress: Callable[[str], None]
) -> list[dict[str, Any]]:
    """One row for each λ, in steps of half an octave around ``lam``."""
    plain = []
    for share in SHARES:
        rounding = Plain(share)
        plain.append(point(case, loss, lam, [CanonicalBatchNorm(), rounding, QuantiseVectors(rounding)]))
    passes = variants(case)[WHOLE]
    rows = []
    for i in range(points):
        here = lam * 2 ** (0.5 * (i - points // 2))
        n_bytes, kl = point(case, loss, here, passes())
        rows.append(
            {
                "lam": here,
                "bytes": n_bytes,
                "kl": kl,
                "free_energy": kl + here * 8 * n_bytes,
                "plain": min(other + here * 8 * size for size, other in plain),
            }
        )
        progress(f"λ = {here:.2e}: {n_bytes:,} bytes, {1e3 * kl:.1f} millinats")
    return rows


def monotone(rows: list[dict[str, Any]]) -> bool:
    """Whether bytes decrease with λ."""
    return all(a["bytes"] > b["bytes"] for a, b in pairwise(rows))


def body(rows: list[dict[str, Any]]) -> list[list[str]]:
    """Rows of the table, under COLUMNS."""
    return [
        [
            f"{row['lam']:.2e}",
            f"{row['bytes']:,}",
            f"{1e3 * row['kl']:.2f}",
            f"{row['free_energy']:.4f}",
            f"{row['plain']:.4f}",
        ]
        for row in rows
    ]
