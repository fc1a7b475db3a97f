"""A small network in integers, which gives the same numbers on every machine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from szilard.codec.features import INPUTS, LINEAR, MOST, Features
from szilard.codec.grid import MOST_LEVELS, Pass
from szilard.coding import shapes
from szilard.errors import SzilardError

STEP = 1023  #: width of a bin of the lattice; the bound is 512
MOST_HIDDEN = 32
MOST_WEIGHT = 8191  #: of the hidden layers, in 2^-10
MOST_LAST = 131071  #: of the last layer, in 2^-14
MOST_BIAS = (1 << 28) - 1  #: in 2^-18
MOST_LINEAR = 32767  #: in 2^-14
SHIFT, LAST_SHIFT, LINEAR_SHIFT = 10, 14, 14
MOST_OF = {
    "linear": MOST_LINEAR,
    "last": MOST_LAST,
    "biases": MOST_BIAS,
}  #: of parts; of the others MOST_WEIGHT
MOST_SHIFT = (1 << 21) - 1  #: of the first output, in 2^-14
OUTPUTS = 2


@dataclass(frozen=True, eq=False)
class Network:
    """Weights of the prediction: a linear part for each pass, and a network with two hidden layers.

    Sums of the hidden layers stay below 2^31 and those of the last layer and the linear part below 2^52, so that 32-bit
    integers and doubles compute them exactly in any order.

    Attributes:
        linear: int64 ``[MOST_LEVELS, 3, LINEAR]``, in 2^-14.
        first: int64 ``[h, INPUTS]``, in 2^-10.
        second: int64 ``[h, h]``.
        last: int64 ``[2, h]``, in 2^-14.
        biases: int64 ``[2 h + 2]``, in 2^-18.
        shape: of the distribution of what is not predicted, see :mod:`szilard.coding.shapes`.
    """

    linear: np.ndarray
    first: np.ndarray
    second: np.ndarray
    last: np.ndarray
    biases: np.ndarray
    shape: int = shapes.TAILS

    def __post_init__(self) -> None:
        hidden = len(self.first)
        shapes = {
            "linear": (MOST_LEVELS, 3, LINEAR),
            "first": (hidden, INPUTS),
            "second": (hidden, hidden),
            "last": (OUTPUTS, hidden),
            "biases": (2 * hidden + OUTPUTS,),
        }
        for name, shape in shapes.items():
            values = getattr(self, name)
            if not 1 <= hidden <= MOST_HIDDEN or values.shape != shape or values.dtype != np.int64:
                raise SzilardError(f"the weights {name!r} of a field's network have the wrong shape or type")
            if values.size and np.abs(values).max() > MOST_OF.get(name, MOST_WEIGHT):
                raise SzilardError(f"the weights {name!r} of a field's network are too large")

    @property
    def hidden(self) -> int:
        """Units of a hidden layer."""
        return len(self.first)

    def predict(self, given: Features, step: Pass) -> tuple[np.ndarray, np.ndarray]:
        """Predicted values ``[M]``, in units of the lattice, and scales for :mod:`szilard.coding.shapes` ``[M]``."""
        linear = self.linear[step.level, step.kind].astype(np.float64) @ given.differences.astype(np.float64)
        first, second, last = np.split(self.biases, [self.hidden, 2 * self.hidden])
        one = _layer(self.first, first, given.inputs)
        one = np.clip(one, 0, MOST)
        two = np.clip(one + np.clip(_layer(self.second, second, one), 0, MOST), 0, MOST)
        sums = (self.last.astype(np.float64) @ two.astype(np.float64)).astype(np.int64)
        sums += (last << (LAST_SHIFT - SHIFT))[:, None]
        shift = np.clip((sums[0] + (1 << 7)) >> 8, -MOST_SHIFT, MOST_SHIFT)
        log_scale = np.clip((sums[1] + (1 << (LAST_SHIFT - 1))) >> LAST_SHIFT, -32768, 32767)
        predicted = (
            given.middle
            + ((linear.astype(np.int64) + (1 << (LINEAR_SHIFT - 1))) >> LINEAR_SHIFT)
            + ((shift << given.exponent) >> LAST_SHIFT)
        )
        scales = ((log_scale + given.spread - (11 << 8) + 32) >> 6) - shapes.PER_OCTAVE * shapes.LOWEST
        return predicted, np.clip(scales, 0, shapes.SCALES - 1)


def _layer(weights: np.ndarray, biases: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """(W x + b) / 1024, rounded; in doubles, whose products are exact and fast."""
    sums = weights.astype(np.float64) @ inputs.astype(np.float64)
    return (sums.astype(np.int64) + biases[:, None] + (1 << (SHIFT - 1))) >> SHIFT
