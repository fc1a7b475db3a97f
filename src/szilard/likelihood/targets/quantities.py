"""Regression targets, one or several for each example."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from szilard.errors import SzilardError
from szilard.likelihood.gaussian import Gaussian
from szilard.likelihood.likelihood import Likelihood
from szilard.likelihood.noisy import NoisyGaussian
from szilard.likelihood.outputs import gaussian, has_noise, noisy
from szilard.likelihood.targets.target_type import DataTargets, TaskName

_LEAST = 1e-6  # minimum variance: the density of constant targets would be infinite


class Quantities(DataTargets):
    """Targets ``[N]``, or ``[N, k]`` if there are several; a network returns their means and ln of their noises."""

    name = "regression"
    score = Gaussian.score
    in_units = True
    constant = "the mean and variance of the targets"

    def trained(self) -> Likelihood:
        return NoisyGaussian()

    def meaning(self, n_outputs: int) -> TaskName | Likelihood:
        """Each of several targets has its own noise."""
        return NoisyGaussian(outputs=n_outputs) if n_outputs > 1 else self.name

    def likelihood_of(self, output: Tensor, labels: Tensor | None) -> Likelihood:
        if labels is not None and has_noise(output, labels):
            return noisy(output, labels)
        return gaussian(output, labels)

    def output_shapes(
        self, n: int, n_outputs: int, positions: Sequence[int]
    ) -> tuple[list[tuple[int, ...]], str]:
        k = n_outputs
        of = "log of the noise's deviation" if k == 1 else "logs of the noises' deviations"
        return [(n, k), (n, 2 * k)], f"[B, {k}], or [B, {2 * k}] with the {of}"

    def standardised(self, y: Tensor, shift: float | Tensor, scale: float | Tensor) -> Tensor:
        return ((y.double() - shift) / scale).float()

    def checked(self, y: Tensor, n_outputs: int, ignore_index: int | None = None) -> Tensor:
        if y.is_complex() or not torch.isfinite(y).all():
            raise SzilardError("the targets hold NaN, infinite or complex values; remove those examples")
        return y.double()

    def constant_nll(self, known: Tensor, asked: Tensor, n_outputs: int) -> float:
        """NLL of a Gaussian with the mean and variance of the known targets; the mean over several targets."""
        known, asked = known.double(), asked.double()
        variance = (known - known.mean(0)).square().mean(0).clamp_min(_LEAST)
        squares = (asked - known.mean(0)).square().mean(0)
        return float((0.5 * (math.log(2 * math.pi) + variance.log() + squares / variance)).mean())
