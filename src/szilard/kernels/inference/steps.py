"""Values and steps of a program, as both implementations read them."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from torch import Tensor

from szilard.kernels.inference.weights import Dense, Sparse

MOST_BATCH = 8
"""Examples in a batch at most."""

Pair = tuple[int, int]
Number = tuple[Tensor, Tensor | None]
"""Mean and variance, or a number alone, of a value in torch."""


@dataclass(frozen=True)
class Value:
    """A value of a program: the input or the output of a step.

    Attributes:
        number: 0 is the input, k the output of step k - 1.
        shape: of one example: ``(features,)``, ``(channels, length)`` or ``(channels, height, width)``.
    """

    number: int
    shape: tuple[int, ...]


class Kind(enum.IntEnum):
    """``SZILARD_STEP_*``."""

    LINEAR = 0
    CONV = 1
    AFFINE = 2
    ADD = 3
    MAX_POOL = 4
    AVERAGE_POOL = 5
    GLOBAL_AVERAGE = 6
    ACTIVATION = 7
    CONCAT = 8
    CHANNELS = 9
    RESHAPE = 10
    SPREADS = 11
    GAINS = 12
    SCALE_ROWS = 13
    CONTRIBUTIONS = 14


class Activation(enum.IntEnum):
    """The functions of a step of kind ACTIVATION."""

    RELU = 0
    LEAKY_RELU = 1
    SIGMOID = 2
    TANH = 3
    GELU = 4
    SILU = 5


@dataclass(frozen=True)
class Step:
    """One step; the fields are those of ``szilard_step`` (``csrc/inference/inference.h``).

    Attributes:
        shape: of the output for one example, always ``(channels, height, width)``.
        padding: (before, after) for height and width.
    """

    kind: Kind
    inputs: tuple[int, ...]
    shape: tuple[int, int, int]
    activation: Activation = Activation.RELU
    relu: bool = False
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: tuple[Pair, Pair] = ((0, 0), (0, 0))
    groups: int = 1
    count_padding: bool = True
    offset: int = 0
    slope: float = 0.0
    weight: Dense | Sparse | None = None
    bias: Tensor | None = None
    bias_variance: Tensor | None = None


def planes(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Channels, height and width of a value of this shape."""
    if len(shape) == 1:
        return (shape[0], 1, 1)
    if len(shape) == 2:
        return (shape[0], 1, shape[1])
    return (shape[0], shape[1], shape[2])
