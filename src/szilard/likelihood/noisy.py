"""Quantities, with the network's own word on the noise."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from szilard.errors import SzilardError
from szilard.likelihood.likelihood import Likelihood

LOUDEST = 30.0  # |ln σ|


class NoisyGaussian(Likelihood):
    """Outputs ``[B, 2]``, mean and log noise deviation, as :class:`szilard.networks.WithNoise` answers them.

    The score is R² of the mean.

    Args:
        scale: the deviation of the targets, scalar; 1 where only :meth:`nll` is asked for.
    """

    name = "regression"
    score = "R² of the mean"
    relative = True

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    @classmethod
    def of(cls, targets: Tensor) -> NoisyGaussian:
        """With the deviation of targets ``[N]``; where they never change, their root mean square."""
        y = targets.double()
        scale = float((y - y.mean()).square().mean().sqrt()) or float(y.square().mean().sqrt())
        return cls(scale or 1.0)

    def nll(self, output: Tensor, y: Tensor) -> Tensor:
        mean, log_noise = _columns(output)
        squared = ((y.reshape(mean.shape) - mean) / log_noise.exp()).square()
        return log_noise + 0.5 * squared + 0.5 * math.log(2 * math.pi)

    def values(self, output: Tensor, y: Tensor) -> Tensor:
        mean, _ = _columns(output)
        return 1 - ((mean.double() - y.reshape(mean.shape).double()) / self.scale).square()

    def agreement(self, output: Tensor, original: Tensor) -> Tensor:
        """1 minus the squared errors of the mean, relative to its variance, and of ln σ, in nats."""
        moved = (_columns(output)[1] - _columns(original)[1]).double().square()
        return self.values(output, _columns(original)[0]) - moved

    def direction(self, output: Tensor, softness: float, generator: torch.Generator) -> Tensor:
        """(ε / σ, √2 ε'): the Fisher matrix of mean and ln σ; σ is at least a hundredth of the targets' deviation."""
        _, log_noise = _columns(output)
        noise = torch.randn(output.shape, generator=generator).to(output)
        sigma = log_noise.clamp(-LOUDEST, LOUDEST).exp().clamp_min(0.01 * self.scale)
        return torch.stack((noise[:, 0] / sigma, math.sqrt(2) * noise[:, 1]), 1)

    def divergence(self, wanted: Tensor, answer: Tensor) -> Tensor:
        (mean, log), (other, other_log) = _columns(wanted), _columns(answer)
        spread = (2 * (log - other_log)).exp() + ((mean - other) / other_log.exp()).square()
        return (other_log - log + 0.5 * spread - 0.5).mean()

    def check(self, output: Tensor, y: Tensor) -> None:
        mean, _ = _columns(output)
        if y.numel() != len(mean) or len(y) != len(mean):
            raise SzilardError(
                f"targets have shape {list(y.shape)} and the network answers a mean and a noise for each of "
                f"{len(mean)} examples; give targets of shape [{len(mean)}]"
            )
        if not bool(torch.isfinite(y.double()).all()):
            raise SzilardError("targets have NaN or infinite values; remove those examples")


def _columns(output: Tensor) -> tuple[Tensor, Tensor]:
    if output.dim() != 2 or output.shape[1] != 2:
        raise SzilardError(
            "a regression network must answer [B, 2], mean and log noise deviation, "
            f"not {list(output.shape)}; szilard.networks.WithNoise adds the second to a network with one output"
        )
    mean, log_noise = output.unbind(1)
    return mean, log_noise
