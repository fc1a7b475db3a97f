"""Regression with noise that the network predicts."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from szilard.errors import SzilardError
from szilard.likelihood.gaussian import check_scale, constant, over_those
from szilard.likelihood.likelihood import Likelihood, by_example, precise, same_shape

LOUDEST = 30.0  # |ln σ|


class NoisyGaussian(Likelihood):
    """Outputs ``[B, 2 k]``: k means, then k log noise deviations, as :class:`szilard.networks.WithNoise` returns them.

    Targets are ``[B]`` for k = 1, else ``[B, k]``; each has its own noise. The score is R² of the means.

    Args:
        scale: standard deviation of the targets, scalar or ``[k]``; not used by :meth:`nll`.
        outputs: k, the number of targets of an example.
        counts: bool ``[k]``, which targets the score is of; None: all.
    """

    name = "regression"
    score = "R² of the mean"
    relative = True
    unlabelled = "agreement with the original's mean and noise"

    def __init__(
        self, scale: float | Tensor = 1.0, *, outputs: int = 1, counts: Tensor | None = None
    ) -> None:
        if isinstance(outputs, bool) or not isinstance(outputs, int) or outputs < 1:
            raise SzilardError(f"a regression needs a whole number of outputs, at least one, not {outputs!r}")
        check_scale(scale)
        self.scale = scale
        self.outputs = outputs
        self.counts = counts

    @classmethod
    def of(cls, targets: Tensor) -> NoisyGaussian:
        """With the deviation of targets ``[N]`` or ``[N, k]``; for constant targets, their root mean square."""
        y = targets.double()
        if y.dim() == 2 and y.shape[1] > 1:
            scales = (y - y.mean(0)).square().mean(0).sqrt()
            size = y.square().mean(0).sqrt()
            scales = torch.where((scales > 0) & ~constant(y), scales, torch.where(size > 0, size, 1.0))
            same = constant(y)
            counts = ~same if bool(same.any()) and not bool(same.all()) else None
            return cls(scales, outputs=y.shape[1], counts=counts)
        scale = float((y - y.mean()).square().mean().sqrt()) or float(y.square().mean().sqrt())
        return cls(scale if scale and math.isfinite(scale) else 1.0)

    def nll(self, output: Tensor, y: Tensor) -> Tensor:
        mean, log_noise = self.columns(output)
        squared = ((y.reshape(mean.shape).to(mean) - mean) / log_noise.exp()).square()
        terms = log_noise + 0.5 * squared + 0.5 * math.log(2 * math.pi)
        return terms if terms.dim() == 1 else terms.sum(1)

    def values(self, output: Tensor, y: Tensor) -> Tensor:
        mean, _ = self.columns(output)
        return 1 - over_those(self._error(mean, y).square(), self.counts)

    def _error(self, mean: Tensor, y: Tensor) -> Tensor:
        scale = torch.as_tensor(self.scale, dtype=torch.float64, device=mean.device)
        return (mean.double() - y.reshape(mean.shape).double()) / scale

    def agreement(self, output: Tensor, original: Tensor) -> Tensor:
        """1 minus the squared errors of the mean, relative to its variance, and of ln σ, in nats."""
        moved = by_example((self.columns(output)[1] - self.columns(original)[1]).double().square())
        error = self._error(self.columns(output)[0], self.columns(original)[0])
        return 1 - by_example(error.square()) - moved

    def direction(self, output: Tensor, softness: float, generator: torch.Generator) -> Tensor:
        """(ε / σ, √2 ε'): the Fisher matrix of mean and ln σ; σ is at least a hundredth of the targets' deviation."""
        _, log_noise = self.columns(output)
        noise = torch.randn(output.shape, generator=generator).to(output)
        least = 0.01 * torch.as_tensor(self.scale).to(log_noise)
        sigma = torch.maximum(log_noise.clamp(-LOUDEST, LOUDEST).exp(), least).reshape(len(output), -1)
        k = self.outputs
        return torch.cat((noise[:, :k] / sigma.to(noise), math.sqrt(2) * noise[:, k:]), 1)

    def divergence(self, wanted: Tensor, answer: Tensor) -> Tensor:
        (mean, log), (other, other_log) = self.columns(wanted), self.columns(answer)
        spread = (2 * (log - other_log)).exp() + ((mean - other) / other_log.exp()).square()
        terms = other_log - log + 0.5 * spread - 0.5
        return terms.reshape(len(terms), -1).sum(1).mean()

    def check_shape(self, output: Tensor, y: Tensor) -> None:
        mean, _ = self.columns(output)
        if not same_shape(y.shape, mean.shape):
            several = ""
            if y.dim() == 2 and y.shape[1] > 1 and y.shape[1] != self.outputs:
                several = (
                    f", or give NoisyGaussian(outputs={y.shape[1]}) as the task for {y.shape[1]} targets each"
                )
            what = "a mean and a noise" if self.outputs == 1 else f"{self.outputs} means with a noise each"
            raise SzilardError(
                f"targets have shape {list(y.shape)} and the network returns {what} for each of "
                f"{len(mean)} examples; give targets of shape {list(mean.shape)}{several}"
            )
        if y.is_complex():
            raise SzilardError("targets are complex numbers; give real ones")

    def check_values(self, output: Tensor, y: Tensor) -> None:
        if y.is_floating_point() and not bool(torch.isfinite(y).all()):
            raise SzilardError("targets have NaN or infinite values; remove those examples")

    def columns(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log noise deviations, both ``[B]`` for k = 1, else ``[B, k]``; at least float32."""
        k = self.outputs
        if output.dim() != 2 or output.shape[1] != 2 * k:
            raise SzilardError(
                f"a regression network must return [B, {2 * k}], {'mean' if k == 1 else f'{k} means'} and log noise "
                f"{'deviation' if k == 1 else 'deviations'}, not {list(output.shape)}; szilard.networks.WithNoise adds "
                "the noise to a network that returns the mean"
            )
        output = precise(output)
        return (output[:, 0], output[:, 1]) if k == 1 else (output[:, :k], output[:, k:])
