"""F = E[loss] + T · cost: the one quantity everything here minimises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from szilard.errors import SzilardError

Task = Literal["classification", "regression"]


@dataclass(frozen=True)
class FreeEnergy:
    """The two terms of F for one batch, nats per example, both scalar tensors that carry gradients."""

    energy: Tensor  # expected loss
    cost: Tensor  # temperature / N times the divergence, in nats

    @property
    def total(self) -> Tensor:
        return self.energy + self.cost


def free_energy(output: Tensor, y: Tensor, divergence: Tensor, *, task: Task, weight: float) -> FreeEnergy:
    """F per example: mean negative log likelihood of the batch plus ``weight`` times a divergence.

    Args:
        output: ``[B, C]`` logits, or ``[B, 2]`` mean and log standard deviation of the noise.
        y: ``[B]`` class indices, or ``[B]`` targets.
        divergence: nats of the whole network, scalar.
        weight: T / N, with N the number of training examples (not of batches).
    """
    return FreeEnergy(negative_log_likelihood(output, y, task).mean(), weight * divergence)


def negative_log_likelihood(output: Tensor, y: Tensor, task: Task) -> Tensor:
    """-ln p(y | output) of each example in nats, ``[B]``."""
    if task == "classification":
        return F.cross_entropy(output, y, reduction="none")
    if output.dim() != 2 or output.shape[1] != 2:
        raise SzilardError(
            "a regression network must answer [B, 2], mean and log noise deviation, "
            f"not {list(output.shape)}; szilard.networks.WithNoise adds the second to a network with one output"
        )
    mean, log_noise = output.unbind(1)
    squared = ((y - mean) / log_noise.exp()).square()
    return log_noise + 0.5 * squared + 0.5 * torch.log(torch.tensor(2 * torch.pi, dtype=y.dtype))
