"""Synthetic codes and their measurements, for tuning and training."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from szilard.errors import SzilardError
from szilard.solve.checks import check_density, real
from szilard.solve.operators import Operator


@dataclass(frozen=True)
class CodePrior:
    """Codes whose entries are zero but for a share, and Gaussian there; their measurements with noise.

    Attributes:
        density: share of entries that are not zero, in (0, 1).
        amplitude: standard deviation of those.
        snr: signal-to-noise ratio of each sample in dB; None: no noise.
    """

    density: float = 0.1
    amplitude: float = 1.0
    snr: float | None = None

    def __post_init__(self) -> None:
        check_density(self.density)
        if not real(self.amplitude) or not self.amplitude > 0:
            raise SzilardError(f"amplitude={self.amplitude!r}; give a positive number")
        if self.snr is not None and not real(self.snr):
            raise SzilardError(f"snr={self.snr!r}; give a ratio in dB, or None where there is no noise")

    def draw(self, operator: Operator, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Codes ``[count, n]`` and measurements ``[count, m]``, in the operator's dtype and on its device.

        Args:
            operator: A.
            count: how many samples.
            generator: on the CPU, so that all devices draw the same.
        """
        m, n = operator.shape
        there = torch.rand(count, n, generator=generator) < self.density
        x = self.amplitude * torch.randn(count, n, generator=generator, dtype=torch.float64) * there
        x = x.to(operator.device, operator.dtype)
        b = operator.product(x)
        if self.snr is not None:
            noise = torch.randn(count, m, generator=generator, dtype=torch.float64).to(b)
            b = b + noise * b.square().mean(1, keepdim=True).sqrt() * 10 ** (-self.snr / 20)
        return x, b


def error_db(x: Tensor, truth: Tensor) -> Tensor:
    """10 log₁₀(‖x - x*‖² / ‖x*‖²) of each sample ``[B]``; of the whole batch, see :func:`batch_error_db`."""
    return 10 * ((x - truth).detach().double().square().sum(1) / truth.double().square().sum(1)).log10()


def batch_error_db(x: Tensor, truth: Tensor) -> float:
    """10 log₁₀(Σ‖x - x*‖² / Σ‖x*‖²), sums over the batch. The mean of :func:`error_db` can differ by 16 dB."""
    ratio = (x - truth).detach().double().square().sum() / truth.double().square().sum()
    return float(10 * ratio.log10())
