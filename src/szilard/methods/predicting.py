"""How a method predicts: what its outputs mean, draws of the network, and one pass."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from szilard.bayes.moments.value import Moments
from szilard.data import Split
from szilard.data.unseen import StandIns
from szilard.errors import SzilardError
from szilard.likelihood import Bernoulli, Likelihood
from szilard.likelihood.targets import DataTargets, TaskName, of_data
from szilard.methods import checks, draws, one_pass, task_likelihood, temperature_scaling
from szilard.methods.to_predictive import predictive_of, two_classes
from szilard.methods.training_state import TrainingState
from szilard.metrics import Predictive


class Predicting(TrainingState):
    """The part of a :class:`~szilard.methods.method.Method` that predicts with a trained network.

    Attributes:
        stand_ins: for categories that were not in the training data, or None.
        class_weights: weights of the classes in the loss, ``[C]``, 1 on average; or None.
    """

    def __init__(self, temperature: float, warmup: float, total_steps: int | None, seed: int) -> None:
        super().__init__(temperature, warmup, total_steps, seed)
        self.stand_ins: StandIns | None = None
        self.class_weights: Tensor | None = None
        self._given: Likelihood | None = None
        self._dims: int | None = None  # of the inputs of the last loss

    def set_task(self, task: TaskName | Likelihood) -> None:
        """Set the task for an already prepared network; :meth:`prepare` calls this itself.

        Raises:
            SzilardError: an unknown task, or a likelihood without predicted probabilities.
        """
        self.task, self._given = task_likelihood.named(task)

    @property
    def target_type(self) -> DataTargets:
        """What the targets of its task are."""
        return of_data(self.task)

    @property
    def likelihood(self) -> Likelihood:
        """The likelihood of the network's output."""
        return self._meant(None)

    def _meant(self, output: Tensor | None) -> Likelihood:
        return task_likelihood.likelihood(self.task, self._given, self.class_weights, output)

    @torch.no_grad()
    def predict(
        self, network: nn.Module, x: Any, samples: int = 32, seed: int = 0, batch_size: int = 1024
    ) -> Predictive:
        """Predictions of ``samples`` coherent draws of the network for ``x [N, ...]``; one draw of a point network.

        Several threads can run one network at the same time; each gets the same bits as if it ran alone.

        Args:
            network: prepared, or opened from a file.
            x: all inputs, in the form that :meth:`loss` takes.
            samples: draws of a Bayesian network.
            seed: of the draws.
            batch_size: number of inputs in each forward pass.

        Raises:
            SzilardError: outputs that are not finite, or of a shape that the task does not take.
        """
        checks.batched(x, self._dims)
        return self.of_outputs(draws.outputs(network, x, samples, seed, batch_size, self.stand_ins))

    def of_outputs(self, stacked: Tensor) -> Predictive:
        """Predictions from the network's outputs ``[S, N, ...]`` for S draws.

        Raises:
            SzilardError: as :meth:`predict`.
        """
        likelihood = self._meant(stacked[0])
        if isinstance(likelihood, Bernoulli) and self.target_type.has_classes and stacked.isfinite().all():
            return two_classes(stacked, self.calibration)
        return predictive_of(likelihood, stacked, self.calibration)

    @torch.no_grad()
    def predict_one_pass(
        self, network: nn.Module, x: Any, batch_size: int = 1024, *, variance_factor: float = 1.0
    ) -> Predictive:
        """Predictions of one forward pass of means and variances, without draws of the weights.

        See :mod:`szilard.bayes.moments`: units count as independent, so epistemic uncertainty is typically somewhat too
        small, and much too small where a feature map is averaged. A category that was not in the training data is a
        mixture of known ones, as in :meth:`predict`, and its rows are computed 32 times.

        Args:
            network: prepared, or opened from a file.
            x: all inputs, in the form that :meth:`loss` takes.
            batch_size: number of inputs in each forward pass.
            variance_factor: multiplies the variance of the outputs (:func:`szilard.deploy.compare_with_draws`).

        Raises:
            SzilardError: an operation without a rule, a factor that is not above zero, outputs that are not finite, or
                of a shape that the task does not take.
        """
        checks.batched(x, self._dims)
        if not 0 < variance_factor < math.inf:
            raise SzilardError(f"variance_factor must be a number above zero, not {variance_factor!r}")
        replaced = None if self.stand_ins is None else self.stand_ins.draws(x, one_pass.STAND_INS, 0)
        if replaced is None:
            found = Moments(*(part.unsqueeze(0) for part in one_pass.moments(network, x, batch_size)))
        else:
            found = one_pass.with_stand_ins(network, x, replaced, batch_size)
        found = Moments(found.mean, found.variance * variance_factor)
        likelihood = self._meant(found.mean[0])
        two = isinstance(likelihood, Bernoulli) and self.target_type.has_classes
        return one_pass.predictive(likelihood, found, self.calibration, two)

    def calibrate(self, network: nn.Module, valid: Split) -> None:
        """Temperature scaling: one number that divides all logits, fitted on ``valid`` (Guo et al. 2017)."""
        self.calibration = 1.0
        predictive = self.predict(network, valid.x, samples=1)
        self.calibration = temperature_scaling.fitted(predictive, valid.y)
