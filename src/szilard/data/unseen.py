"""Category values that training has not seen: which rows have them, and known values that replace them in prediction.

Nothing is known about such a value except its category. Each weight sample therefore predicts the row with a value
drawn from the known ones, with their frequencies in training: values are exchangeable, as in a hierarchical model
(Gelman et al., Bayesian Data Analysis, 3rd ed., section 5.2). Disagreement of the samples, through the value or through
the weights, is epistemic uncertainty: I(y; w, k | x) = I(y; k | x) + I(y; w | x, k). It is at least the mean over the
known values.

The effect of a new value can be outside the range of the K known ones. The features of the drawn value, as deviations
from their mean, are multiplied by √((K + 1)/(K - 1)): the ratio of the standard deviation of a new effect, with a mean
estimated from K effects, to the standard deviation of K effects about their own mean.
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

_SHOWN = 8  # lines in a message
_ROUNDED = 1e-5  # tolerance for a normalised zero in float32


def rows(reading: Reading, raw: np.ndarray) -> dict[str, np.ndarray]:
    """For each category with unseen values, a bool mask ``[N]`` of the rows of ``raw [N, D]`` that have them."""
    found = {}
    for name, features in reading.categories():
        new = (raw[:, features] == 0).all(1)
        if new.any():
            found[name] = new
    return found


def warn(reading: Reading, raw: np.ndarray, lines: Sequence[int], path: str) -> None:
    """Warn of unseen values, with column and lines."""
    for name, new in rows(reading, raw).items():
        numbers = [str(lines[row]) for row in new.nonzero()[0].tolist()]
        shown = ", ".join(numbers[:_SHOWN]) + (
            f" and {len(numbers) - _SHOWN:,} more" * (len(numbers) > _SHOWN)
        )
        where, have = ("lines", "have") if len(numbers) > 1 else ("line", "has")
        warnings.warn(
            f"{where} {shown} of {shortened(path, 200)} {have} a value in column {shortened(name, 60)!r} that training "
            "has not seen; known values are used instead, with more uncertainty: do not rely on the prediction",
            SzilardWarning,
            stacklevel=2,
        )


@dataclass(frozen=True, eq=False)
class StandIns:
    """Replaces unseen category values in inputs by known ones.

    Attributes:
        shift, scale: ``[D]``, x = (raw - shift) / scale; ``shift`` is the frequency of each value in training.
    """

    reading: Reading
    shift: Tensor
    scale: Tensor

    @classmethod
    def of(cls, reading: Reading | None, shift: Tensor, scale: Tensor) -> StandIns | None:
        """For a table with categorical columns; None for other data."""
        if reading is None or not reading.categories() or shift.shape != (len(reading.groups),):
            return None
        return cls(reading, shift.detach().cpu(), scale.detach().cpu())

    def draws(self, x: Tensor, samples: int, seed: int) -> Callable[[int], Tensor] | None:
        """Inputs for each weight sample, or None if all values are known.

        Args:
            x: ``[N, D]`` normalised features; an unseen value has raw 0 in all features of its category.
            samples: number of weight samples.
            seed: of the drawn values.

        Returns:
            a function from the number of a sample to ``[N, D]`` inputs.
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
        """``[rows, samples, features]``: the drawn values, normalised."""
        draws = generator("unseen", seed)
        shares = self.shift[features].double().clamp_min(1e-12)
        shares = shares / shares.sum()
        count = len(shares)
        # Stratified over the cumulative shares, in a random order per row: few samples represent all values.
        places = torch.rand(rows, samples, generator=draws, dtype=torch.float64).argsort(1)
        even = (places + torch.rand(rows, 1, generator=draws, dtype=torch.float64)) / samples
        chosen = torch.searchsorted(shares.cumsum(0), even).clamp_max(count - 1)
        wider = math.sqrt((count + 1) / (count - 1)) if count > 1 else 1.0
        values = shares + wider * (torch.eye(count, dtype=torch.float64) - shares)
        return ((values - self.shift[features]) / self.scale[features]).float()[chosen]
