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
MOST_WEIGHT = 8191  #: of the network, in 1024ths
MOST_BIAS = (1 << 28) - 1  #: in 2^-18
MOST_LINEAR = 32767  #: in 2^-14
SHIFT, LINEAR_SHIFT = 10, 14
OUTPUTS = 2


@dataclass(frozen=True, eq=False)
class Network:
    """Weights of the prediction: a linear part for each pass, and a network with two hidden layers.

    Sums of the network stay below 2^31 and those of the linear part below 2^52, so that 32-bit integers and doubles
    compute them exactly in any order.

    Attributes:
        linear: int64 ``[MOST_LEVELS, 3, LINEAR]``, in 2^-14.
        first: int64 ``[h, INPUTS]``, in 2^-10.
        second: int64 ``[h, h]``.
        last: int64 ``[2, h]``.
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
        most = {"linear": MOST_LINEAR, "biases": MOST_BIAS}
        for name, shape in shapes.items():
            values = getattr(self, name)
            if not 1 <= hidden <= MOST_HIDDEN or values.shape != shape or values.dtype != np.int64:
                raise SzilardError(f"the weights {name!r} of a field's network have the wrong shape or type")
            if values.size and np.abs(values).max() > most.get(name, MOST_WEIGHT):
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
        shift, log_scale = np.clip(_layer(self.last, last, two), -32768, 32767)
        predicted = (
            given.middle
            + ((linear.astype(np.int64) + (1 << (LINEAR_SHIFT - 1))) >> LINEAR_SHIFT)
            + ((shift << given.exponent) >> 8)
        )
        scales = ((log_scale + given.spread - (11 << 8)) >> 6) - shapes.PER_OCTAVE * shapes.LOWEST
        return predicted, np.clip(scales, 0, shapes.SCALES - 1)


def _layer(weights: np.ndarray, biases: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """(W x + b) / 1024, rounded; in doubles, whose products are exact and fast."""
    sums = weights.astype(np.float64) @ inputs.astype(np.float64)
    return (sums.astype(np.int64) + biases[:, None] + (1 << (SHIFT - 1))) >> SHIFT
