"""Random weights and values for programs of inference on one input, and their comparison with torch in float64."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from szilard.kernels.inference import Compiled, Dense, Moments, Program, Sparse
from szilard.sparse import Support


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


def flat(found):
    if isinstance(found, torch.Tensor):
        return found.flatten()
    return torch.cat([flat(part) for part in found])


def bias(n, seed):
    return 0.1 * torch.randn(n, generator=generator(seed))


def mlp(batch, moments, density=None):
    g = generator(0)
    program = Program(batch, moments)
    x = y = program.input((1, 28, 28))
    for k, (rows, cols) in enumerate([(100, 784), (100, 100), (10, 100)]):
        y = program.linear(
            y, weight((rows, cols), g, density), bias(rows, k), bias(rows, k).abs(), relu=k < 2
        )
    return program.finish(y), x


def lenet(batch, moments, density=None):
    g = generator(1)
    program = Program(batch, moments)
    x = program.input((1, 28, 28))
    y = program.conv(x, weight((6, 1, 5, 5), g, density), bias(6, 0), padding=2)
    y = program.max_pool(y, 2, relu=True)
    y = program.conv(y, weight((16, 6, 5, 5), g, density), bias(16, 1))
    y = program.flatten(program.max_pool(y, 2, relu=True))
    for k, (rows, cols) in enumerate([(120, 400), (84, 120), (10, 84)]):
        y = program.linear(y, weight((rows, cols), g, density), bias(rows, k), relu=k < 2)
    return program.finish(y), x


def residual(batch, moments, density=None):
    """A block with a stride, whose shortcut is subsampled and filled with zero channels, and one without."""
    g = generator(2)
    program = Program(batch, moments)
    x = program.input((16, 16, 16))

    def normalised(y, out, stride=1, relu=False):
        w = weight((out, y.shape[0], 3, 3), g, density)
        y = program.conv(y, w, padding=1, stride=stride)
        return program.affine(y, 1 + bias(out, 3), bias(out, 4), relu=relu)

    y = normalised(normalised(x, 32, 2, True), 32)
    y = program.add(y, program.channels(x, 32, offset=8, stride=2), relu=True)
    z = normalised(normalised(y, 32, 1, True), 32)
    z = program.add(z, y, relu=True)
    pooled = program.global_average(program.concat([z, y]))
    return program.finish([program.linear(pooled, weight((10, 64), g)), pooled, z]), x


NETWORKS = [mlp, lenet, residual]
MODES = [(batch, moments) for batch in (1, 3, 8) for moments in (False, True)]
