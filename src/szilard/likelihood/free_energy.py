"""The free energy F = E[loss] + T · cost, which all methods minimise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from szilard import _moved
from szilard.errors import SzilardError
from szilard.likelihood import Likelihood, for_training
from szilard.likelihood.targets import TaskName


@dataclass(frozen=True)
class FreeEnergy:
    """The two terms of F for one batch, nats per example, both scalar tensors that carry gradients."""

    energy: Tensor  # expected loss
    cost: Tensor  # temperature / N times the divergence, in nats

    @property
    def total(self) -> Tensor:
        return self.energy + self.cost


def free_energy(
    output: Tensor, y: Tensor, divergence: Tensor, *, task: TaskName | Likelihood, weight: float
) -> FreeEnergy:
    """F per example: mean negative log likelihood of the batch plus ``weight`` times a divergence.

    The likelihood of an example is that of all its labels (the pixels of an image, the tokens of a sentence). The mean
    is over examples with at least one label, and N counts those.

    Args:
        output: as the likelihood takes it: ``[B, C]`` or ``[B, C, ...]`` logits, or ``[B, 2]`` mean and log standard
            deviation of the noise.
        y: ``[B]`` class indices or targets; ``[B, ...]`` if an example has several.
        divergence: nats of the whole network, scalar.
        task: a likelihood, or the name of the task that a method trains for.
        weight: T / N, with N the number of training examples (not of batches).
    """
    likelihood = task if isinstance(task, Likelihood) else for_training(task)
    nll, labelled = likelihood.nll(output, y), likelihood.labelled(output, y)
    if nll.shape != output.shape[:1]:
        raise SzilardError(
            f"{type(likelihood).__name__}.nll returns {list(nll.shape)} for outputs {list(output.shape)}; return one "
            "value for each example, the sum over its targets"
        )
    # N does not count examples without labels: their part of the divergence is divided among the others.
    energy = nll.mean() if labelled is None else nll.sum() / labelled.sum().clamp_min(1)
    return FreeEnergy(energy, weight * divergence)


def negative_log_likelihood(output: Tensor, y: Tensor, task: TaskName | Likelihood) -> Tensor:
    """-ln p(y | output) of each example in nats, ``[B]``."""
    return (task if isinstance(task, Likelihood) else for_training(task)).nll(output, y)


def __getattr__(name: str) -> Any:
    return _moved.name_of(__name__, name)
