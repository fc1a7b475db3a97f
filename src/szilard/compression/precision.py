"""The precision that a weight needs, from its posterior's standard deviation."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from szilard.compression.curvature import Curvature
from szilard.compression.draft import STEPS


def published_bits(variance: Tensor, largest: float) -> int:
    """Bits of a fixed-point weight by the rule of Louizos, Ullrich and Welling (2017), sign and exponent included.

    The number of fraction bits is how many of the 23 units in the last place 2^-1 ... 2^-23 are above twice the
    **variance**; the mean over a layer is rounded up. Codes, tables and biases are not counted.

    Args:
        variance: of the posterior of each weight.
        largest: magnitude of a weight; the exponent's rule is only defined above a half.
    """
    places = 2.0 ** -torch.arange(1, 24, dtype=torch.float64)
    fraction = (2 * variance.double().reshape(-1, 1) < places).sum(1).double().mean().ceil().item()
    exponent = math.ceil(math.log2(math.ceil(math.log2(largest) + 1) + 1)) if largest > 0.5 else 0
    return int(1 + fraction + exponent)


def free_energy_step(std: Tensor) -> int:
    """Code of the step Δ = √12 σ, with the geometric mean of σ.

    Uniform noise of that width has the posterior's variance. Finer steps cost bits for digits that the data do not
    determine; coarser ones lose digits that they do (Hinton and van Camp 1993).
    """
    log2 = std.double().clamp_min(1e-30).log2().mean().item()
    return round(STEPS * (0.5 * math.log2(12) + log2))


def posterior_curvature(std: Tensor, n_data: int, temperature: float = 1.0) -> Curvature:
    """The curvature of the mean loss at which a posterior would have these standard deviations: T / (N σ²).

    Args:
        std: σ of a weight, dense, ``[rows, ...]``.
        n_data, temperature: of the training method.

    Returns:
        The closest product of row and column factors in the logarithm, for :class:`szilard.compression.Quantise`.
    """
    log = (math.log(temperature / n_data) - 2 * std.double().clamp_min(1e-12).log()).reshape(len(std), -1)
    every = log.mean()
    rows, cols = log.mean(1), log.mean(0) - every
    return Curvature(cols.exp()[None], rows.exp(), rows.exp())
