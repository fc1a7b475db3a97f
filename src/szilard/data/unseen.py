"""Rows with a value of a category that training has not seen: who they are, and what stands in for the value.

Nothing is known of such a value but that it is one of its category. So each draw of the network meets the row with a
value drawn anew from those that are known, by how frequent they are in training: values are exchangeable, as in a
hierarchical model (Gelman et al., Bayesian Data Analysis, 3rd ed., section 5.2). What draws then disagree on, through
the value or through their weights, is epistemic uncertainty: I(y; w, k | x) = I(y; k | x) + I(y; w | x, k), so that it
is at least the mean of what the network has for the known values.

The effect of a new value may lie outside those of K known ones. The features of the value drawn, as deviations from
their mean, are multiplied by √((K + 1)/(K - 1)): the ratio of a new effect's standard deviation, its mean being
estimated from K, to the one that K effects show about their own mean.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from szilard.data.reading import Reading
from szilard.data.seeds import generator
from szilard.errors import SzilardWarning, shortened

_SHOWN = 8  # lines in a sentence
_ROUNDED = 1e-5  # by which float32 may miss a normalised zero


def rows(reading: Reading, raw: np.ndarray) -> dict[str, np.ndarray]:
    """For each category with values that are new, ``[N]``: in which rows of features ``raw [N, D]``."""
    found = {}
    for name, features in reading.categories():
        new = (raw[:, features] == 0).all(1)
        if new.any():
            found[name] = new
    return found


def warn(reading: Reading, raw: np.ndarray, lines: Sequence[int], path: str) -> None:
    """Warn of values that are new, by column and line."""
    for name, new in rows(reading, raw).items():
        numbers = [str(lines[row]) for row in new.nonzero()[0].tolist()]
        shown = ", ".join(numbers[:_SHOWN]) + (
            f" and {len(numbers) - _SHOWN:,} more" * (len(numbers) > _SHOWN)
        )
        where, have = ("lines", "have") if len(numbers) > 1 else ("line", "has")
        warnings.warn(
            f"{where} {shown} of {shortened(path, 200)} {have} a value in column {shortened(name, 60)!r} that training "
            "has not seen; the network is asked with the known values instead and is more in doubt: do not rely on it",
            SzilardWarning,
            stacklevel=2,
        )


@dataclass(frozen=True, eq=False)
class StandIns:
    """Inputs in which known values stand for new ones.

    Attributes:
        shift, scale: ``[D]``, x = (raw - shift) / scale, so that ``shift`` holds the share of each value in training.
    """

    reading: Reading
    shift: Tensor
    scale: Tensor

    @classmethod
    def of(cls, reading: Reading | None, shift: Tensor, scale: Tensor) -> StandIns | None:
        """For a table with categories; None for everything else."""
        if reading is None or not reading.categories() or shift.shape != (len(reading.groups),):
            return None
        return cls(reading, shift.detach().cpu(), scale.detach().cpu())

    def draws(self, x: Tensor, samples: int, seed: int) -> Callable[[int], Tensor] | None:
        """Inputs by draw, or None if all rows have known values.

        Args:
            x: ``[N, D]`` normalised features; a new value has raw 0 in all features of its category.
            samples: how many draws there will be.
            seed: of the values that are drawn.

        Returns:
            a function from the number of a draw to ``[N, D]`` inputs.
        """
        if x.shape[1:] != self.shift.shape:
            return None
        parts = []
        for _, features in self.reading.categories():
            zero = ((0 - self.shift[features]) / self.scale[features]).to(x)
            new = ((x[:, features] - zero).abs() <= _ROUNDED * (1 + zero.abs())).all(1).nonzero().flatten()
            if len(new):
                parts.append((features, new, self._values(features, len(new), samples, seed).to(x)))
        if not parts:
            return None

        def inputs(sample: int) -> Tensor:
            varied = x.clone()
            for features, new, values in parts:
                varied[new, features] = values[:, sample]
            return varied

        return inputs

    def _values(self, features: slice, rows: int, samples: int, seed: int) -> Tensor:
        """``[rows, samples, features]``: normalised values that are drawn."""
        draws = generator("unseen", seed)
        shares = self.shift[features].double().clamp_min(1e-12)
        shares = shares / shares.sum()
        count = len(shares)
        # Evenly over the cumulative shares, in an order of each row's own: few draws show all values in proportion.
        places = torch.rand(rows, samples, generator=draws, dtype=torch.float64).argsort(1)
        even = (places + torch.rand(rows, 1, generator=draws, dtype=torch.float64)) / samples
        chosen = torch.searchsorted(shares.cumsum(0), even).clamp_max(count - 1)
        wider = math.sqrt((count + 1) / (count - 1)) if count > 1 else 1.0
        values = shares + wider * (torch.eye(count, dtype=torch.float64) - shares)
        return ((values - self.shift[features]) / self.scale[features]).float()[chosen]
