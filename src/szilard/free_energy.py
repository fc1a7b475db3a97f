"""F = E[loss] + T · cost: the one quantity everything here minimises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from szilard.likelihood import Likelihood, for_training

Task = Literal["classification", "regression"]


@dataclass(frozen=True)
class FreeEnergy:
    """The two terms of F for one batch, nats per example, both scalar tensors that carry gradients."""

    energy: Tensor  # expected loss
    cost: Tensor  # temperature / N times the divergence, in nats

    @property
    def total(self) -> Tensor:
        return self.energy + self.cost


def free_energy(
    output: Tensor, y: Tensor, divergence: Tensor, *, task: Task | Likelihood, weight: float
) -> FreeEnergy:
    """F per example: mean negative log likelihood of the batch plus ``weight`` times a divergence.

    Args:
        output: what the likelihood takes: ``[B, C]`` logits, or ``[B, 2]`` mean and log standard deviation of noise.
        y: ``[B]`` class indices, or ``[B]`` targets.
        divergence: nats of the whole network, scalar.
        task: a likelihood, or the name of the task that a method trains for.
        weight: T / N, with N the number of training examples (not of batches).
    """
    return FreeEnergy(negative_log_likelihood(output, y, task).mean(), weight * divergence)


def negative_log_likelihood(output: Tensor, y: Tensor, task: Task | Likelihood) -> Tensor:
    """-ln p(y | output) of each example in nats, ``[B]``."""
    return (task if isinstance(task, Likelihood) else for_training(task)).nll(output, y)
