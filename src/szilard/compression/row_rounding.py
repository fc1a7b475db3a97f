"""Plain rounding by row to a few bits: the baseline that compression must not be worse than."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from szilard.compression.draft import ROWS, STEPS, Draft, Pass, Quantised, Setting
from szilard.compression.layers import tensors
from szilard.compression.passes.refit import Refit
from szilard.compression.passes.rounding import Quantise
from szilard.compression.scaled import MANY

BITS = (8, 6, 4)  # tried in this order, while the goal is kept


class Rows:
    """Rounds every entry to the nearest of ``2^bits - 1`` levels within the largest magnitude of its row.

    Args:
        bits: per weight.
    """

    def __init__(self, bits: int) -> None:
        self.bits = bits

    def __call__(self, draft: Draft, setting: Setting) -> None:
        for name, _, weight in tensors(draft):
            if weight.dim() > 1 and name not in draft.products:
                draft.set(name, by_row(weight.cpu().reshape(len(weight), -1), self.bits))


def by_row(weight: Tensor, bits: int) -> Quantised:
    """Integers for a weight ``[rows, cols]``; scales of rows are rounded up to the file's grid."""
    top = 2 ** (bits - 1) - 1
    exact = torch.maximum(weight.amax(1), weight.amin(1).neg()).double() / top
    size = float(exact.max())
    if size == 0:
        return Quantised(np.zeros(tuple(weight.shape), np.int32), 0)
    step = math.ceil(STEPS * math.log2(size))
    octaves = torch.log2(exact.clamp_min(size * 2.0**-15)) - step / STEPS
    row = (ROWS * octaves).ceil().clamp(-127, 0).to(torch.int8).numpy()
    made = Quantised(np.zeros((len(weight), 0), np.int32), step, row)
    levels, steps = torch.empty(tuple(weight.shape), dtype=_type(top)), made.steps()[:, None]
    some = max(1, MANY // max(1, weight.shape[1]))
    for first in range(
        0, len(weight), some
    ):  # in parts, because in float64 they take more memory than the weight
        part = slice(first, first + some)
        levels[part] = (weight[part].double() / steps[part]).round().clamp(-top, top).to(levels.dtype)
    return Quantised(levels.numpy(), step, row).narrowed()


def _type(most: int) -> torch.dtype:
    """The smallest type that can store integers up to ``most``."""
    return next(kind for kind in (torch.int8, torch.int16, torch.int32) if most <= torch.iinfo(kind).max)


def rounding(passes: Sequence[Pass], bits: int) -> list[Pass] | None:
    """The same passes with rounding by row instead of :class:`Quantise`, without costly ones; None without Quantise."""
    if not any(isinstance(one, Quantise) for one in passes):
        return None
    quick = [one for one in passes if not getattr(one, "costly", False) and not isinstance(one, Refit)]
    return [Rows(bits) if isinstance(one, Quantise) else one for one in quick]
