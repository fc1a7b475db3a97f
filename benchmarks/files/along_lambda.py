"""Whether λ does what it says: along it bytes fall, and no plain rounding has a lower F = loss + λ · bits.

Plain rounding takes every weight of the canonical network to the nearest level, all tensors with steps of one size
relative to their standard deviations, through the same coder and file.
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
SHARES = tuple(2 ** (i / 2 - 4) for i in range(9))  # 1/16 to 1 standard deviation


class Plain(Quantise):
    """Every weight to the nearest level, with steps that are a share of the tensor's standard deviation."""

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
    """One row for each λ, half an octave apart, ``lam`` in the middle."""
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
    """Whether bytes fall along λ."""
    return all(a["bytes"] > b["bytes"] for a, b in pairwise(rows))


def body(rows: list[dict[str, Any]]) -> list[list[str]]:
    """The table, under COLUMNS."""
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
