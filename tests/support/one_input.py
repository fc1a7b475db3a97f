"""Random weights and values for programs of inference on one input, and their comparison with torch in float64."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from szilard.kernels.inference import Compiled, Dense, Moments, Sparse
from szilard.sparse import Support

ISAS = ("avx512", "avx2", "baseline", "neon")


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def weight(shape, g, density=None, random=True, empty_rows=False) -> Dense | Sparse:
    """Dense if ``density`` is None."""
    scale = 1 / math.sqrt(math.prod(shape[1:]) * (density or 1) + 1)
    if density is None:
        variance = 0.3 * scale**2 * torch.rand(shape, generator=g) if random else None
        return Dense(scale * torch.randn(shape, generator=g), variance)
    mask = torch.rand(shape, generator=g) < density
    if empty_rows:
        mask[torch.rand(shape[0], generator=g) < 0.5] = False
    support = Support.from_mask(mask)
    variance = 0.3 * scale**2 * torch.rand(support.nnz, generator=g) if random else None
    return Sparse(
        scale * torch.randn(support.nnz, generator=g), variance, support.crow, support.col, tuple(shape)
    )


def inputs(shape, g, zeros=0.0) -> Tensor:
    x = torch.randn(shape, generator=g)
    return x * (torch.rand(shape, generator=g) >= zeros)


def parts(output: Tensor | Moments) -> tuple[Tensor, ...]:
    return tuple(output) if isinstance(output, Moments) else (output,)


def agrees(program: Compiled, x: Tensor, tolerance: float = 2e-6) -> None:
    """Native float32 against torch in float64, absolute and relative to the largest number of an output.

    Sums of a few hundred float32 products of size 1 differ by about 1e-6; Phi is accurate to 1e-7.
    """
    assert program.is_native
    found, expected = program(x), program(x.double())
    if isinstance(found, (Tensor, Moments)):
        found, expected = [found], [expected]
    for ours, theirs in zip(map(parts, found), map(parts, expected), strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert a.shape == b.shape
            assert b.dtype == torch.float64
            worst = (a.double() - b).abs().max().item()
            assert worst <= tolerance * (1 + b.abs().max().item()), (worst, b.abs().max().item())
        if len(ours) == 2:
            assert (ours[1] >= 0).all()
