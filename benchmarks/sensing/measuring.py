"""Measurements of patches: a Gaussian matrix, and noise.

A patch of 256 pixels without its mean, r, gives b = Φ r + noise. Its mean is sent beside b, to every method alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sensing.photographs import PIXELS

RATIOS = (10, 25, 50)  # measurements in per cent of the pixels of a patch
NOISE = 5 / 255  #: Standard deviation of the noise of a measurement, where there is noise.


@dataclass(frozen=True)
class Cell:
    """What is measured together.

    Attributes:
        ratio: measurements in per cent of the pixels.
        noise: standard deviation of the noise of a measurement, in units of white; a pixel has that of its gain, 1.
        seed: of Φ, the noise and training.
    """

    ratio: int
    noise: float
    seed: int

    @property
    def count(self) -> int:
        """Measurements of a patch."""
        return round(PIXELS * self.ratio / 100)

    @property
    def matrix(self) -> Tensor:
        """Φ ``[count, 256]``, entries N(0, 1 / count): its columns have norm 1 on average."""
        generator = torch.Generator().manual_seed(1000 * self.seed + self.ratio)
        values = torch.randn(self.count, PIXELS, generator=generator, dtype=torch.float64)
        return (values / self.count**0.5).float()

    def measured(self, centred: Tensor, generator: torch.Generator) -> Tensor:
        """b ``[B, count]`` of patches without their mean ``[B, 256]``."""
        b = centred @ self.matrix.to(centred).t()
        if self.noise:
            b = b + self.noise * torch.randn(b.shape, generator=generator).to(b)
        return b


def generator(*numbers: int) -> torch.Generator:
    """Random numbers of their own for every use, on the CPU, so that all devices draw the same."""
    seed = 0
    for number in numbers:
        seed = (seed * 1_000_003 + number + 1) % (2**63 - 1)
    return torch.Generator().manual_seed(seed)
