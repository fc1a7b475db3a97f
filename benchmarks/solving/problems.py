"""Matrices, codes and measurements that solve.py measures on; drawn on the CPU, so that all devices have the same."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from szilard.solve import CodePrior
from szilard.solve.operators import Matrix

M, N, DENSITY, LAYERS, BATCH = 250, 500, 0.1, 16, 256
_CORRELATION = 0.5  # of neighbouring columns of the correlated matrix


@dataclass(frozen=True)
class Settings:
    """Where and how much is measured.

    Attributes:
        seeds: of matrices and codes.
        device: of all of szilard's solvers.
        judged: samples that errors are of; seconds are of :data:`BATCH`.
        repeats: of a duration.
        peer_samples: samples of the batch that libraries without batches solve.
        steps: of Adam, for solvers with a few numbers a layer and for those with a weight a layer.
        extra: whether learned solvers that no figure needs are trained, too.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    device: str = "cpu"
    judged: int = 1024
    repeats: int = 15
    peer_samples: int = 256
    steps: tuple[int, int] = (1500, 3000)
    extra: bool = True

    def on(self, device: str) -> Settings:
        """The same on a device."""
        return replace(self, device=device)


FULL = Settings()
QUICK = Settings(seeds=(0,), judged=512, repeats=7, peer_samples=32, steps=(1500, 1500), extra=False)


@dataclass(frozen=True)
class Problem:
    """A matrix, codes and their measurements.

    Attributes:
        A: ``[m, n]`` with columns of unit norm.
        x: codes ``[B, n]``.
        b: measurements ``[B, m]``.
    """

    A: Tensor
    x: Tensor
    b: Tensor

    def first(self, count: int) -> Problem:
        """The same with the first samples only."""
        return Problem(self.A, self.x[:count], self.b[:count])


def gaussian(m: int, n: int, seed: int) -> Tensor:
    """Independent Gaussian entries; columns of unit norm; float64 ``[m, n]``."""
    A = torch.randn(m, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return A / A.norm(dim=0)


def subsampled_dct(m: int, n: int, seed: int) -> Tensor:
    """Random rows of the orthonormal cosine transform, without the constant one; columns of unit norm, ``[m, n]``."""
    k, i = torch.arange(n, dtype=torch.float64)[:, None], torch.arange(n, dtype=torch.float64)
    transform = (torch.pi * (i + 0.5) * k / n).cos() * (2 / n) ** 0.5
    chosen = 1 + torch.randperm(n - 1, generator=torch.Generator().manual_seed(seed))[:m]
    A = transform[chosen.sort().values]
    return A / A.norm(dim=0)


def correlated(m: int, n: int, seed: int, correlation: float = _CORRELATION) -> Tensor:
    """Gaussian entries, correlated between neighbouring columns (AR(1) along rows); unit norm, ``[m, n]``."""
    noise = torch.randn(m, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    columns = [noise[:, 0]]
    for new in noise.t()[1:]:
        columns.append(correlation * columns[-1] + (1 - correlation**2) ** 0.5 * new)
    A = torch.stack(columns, 1)
    return A / A.norm(dim=0)


def held_out(seed: int) -> dict[str, Tensor]:
    """Four matrices that no numbers were tuned on, by what they are."""
    return {
        "Gaussian, 500 x 1000": gaussian(500, 1000, 100 + seed),
        "Gaussian, 250 x 400": gaussian(250, 400, 200 + seed),
        "rows of a DCT, 250 x 500": subsampled_dct(250, 500, 300 + seed),
        f"columns correlated by {_CORRELATION:g}, 250 x 500": correlated(250, 500, 400 + seed),
    }


def perturbed(A: Tensor, share: float, seed: int) -> Tensor:
    """A with Gaussian noise of a norm that is this share of ‖A‖_F; its columns keep what norm they get."""
    noise = torch.randn(A.shape, generator=torch.Generator().manual_seed(500 + seed), dtype=torch.float64)
    return A + (share * A.cpu().double().norm() / noise.norm() * noise).to(A)


def problem(
    A: Tensor,
    count: int,
    seed: int,
    *,
    prior: CodePrior | None = None,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> Problem:
    """Codes of a prior and their measurements, made in float64 and rounded; the seed is of the codes."""
    operator = Matrix(A.double().cpu())
    generator = torch.Generator().manual_seed(10_000 + seed)
    x, b = (prior or CodePrior(DENSITY)).draw(operator, count, generator)
    return Problem(*(values.to(device, dtype) for values in (A, x, b)))


def standard(settings: Settings, seed: int, dtype: torch.dtype = torch.float32) -> Problem:
    """The problem of a seed that most parts share."""
    A = gaussian(M, N, seed)
    return problem(A, max(settings.judged, BATCH), seed, dtype=dtype, device=settings.device)
