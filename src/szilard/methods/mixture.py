"""The output that stands for those of several networks: of the mixture of their predictions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from szilard.errors import SzilardError
from szilard.likelihood import Bernoulli, Categorical, Gaussian, Likelihood, NoisyGaussian
from szilard.likelihood.targets import TaskName
from szilard.methods import task_likelihood

_KNOWN = (Bernoulli, Categorical, Gaussian, NoisyGaussian)


@dataclass(frozen=True)
class Mixture:
    """Outputs ``[S, B, ...]`` of S networks to outputs ``[B, ...]`` with the same meaning.

    Probabilities of classes and labels are averaged. For a regression with a predicted noise, mean and variance are
    those of the mixture, whose variance has the spread of the means; with a known noise, the mean is averaged.

    Args:
        task: name of the task.
        given: the user's likelihood, or None.

    Raises:
        SzilardError: a likelihood whose outputs have no known mixture.
    """

    task: TaskName
    given: Likelihood | None = None

    def __post_init__(self) -> None:
        if self.given is not None and not isinstance(self.given, _KNOWN):
            raise SzilardError(
                f"the outputs of several networks cannot be combined for {type(self.given).__name__}; use Categorical, "
                "Bernoulli, Gaussian or NoisyGaussian"
            )

    def __call__(self, stacked: Tensor) -> Tensor:
        """The output of the mixture.

        Args:
            stacked: ``[S, B, ...]``.
        """
        likelihood = task_likelihood.likelihood(self.task, self.given, None, stacked[0])
        if isinstance(likelihood, NoisyGaussian):
            return _gaussians(likelihood, stacked)
        if isinstance(likelihood, Gaussian):
            return stacked.mean(0)
        if isinstance(likelihood, Bernoulli):
            logits = likelihood.logits(stacked)
            on, off = (_mean_of_logs(torch.nn.functional.logsigmoid(sign * logits)) for sign in (1, -1))
            return on.exp() if likelihood.probabilities else on - off
        assert isinstance(likelihood, Categorical)
        logs = _mean_of_logs(
            torch.stack([likelihood.logits(one) for one in stacked]).log_softmax(2)
        )  # [B, C, ...]
        logs = logs.exp() if likelihood.probabilities else logs
        return logs.movedim(1, -1) if likelihood.last else logs


def _mean_of_logs(logs: Tensor) -> Tensor:
    """Logarithm of the mean of probabilities over the first dimension."""
    return logs.logsumexp(0) - math.log(len(logs))


def _gaussians(likelihood: NoisyGaussian, stacked: Tensor) -> Tensor:
    means, logs = (
        torch.stack(part) for part in zip(*(likelihood.columns(one) for one in stacked), strict=True)
    )
    mean = means.mean(0)
    variance = ((2 * logs).exp() + (means - mean).square()).mean(0)
    columns = [part.reshape(len(part), -1) for part in (mean, 0.5 * variance.log())]
    return torch.cat(columns, 1)
