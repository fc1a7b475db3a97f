"""Explicit gradients of the sparse operators against autograd through masked dense tensors."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from identities.check import Check, generator, relative
from szilard.sparse import Support, ops


def gradients(dtype: torch.dtype, kind: str, density: float) -> Check:
    """Our explicit gradients of a local-reparametrisation layer against autograd through masked dense tensors."""
    g = generator(1)
    shape, x_shape, how = {
        "linear": ((37, 53), (19, 53), None),
        "conv1d": ((8, 3, 5), (4, 6, 17), ([2], [2], [1], 2)),
        "conv2d": ((6, 2, 3, 3), (3, 4, 9, 8), ([1, 2], [1, 0], [1, 1], 2)),
    }[kind]
    support = Support.random(shape, max(1, round(density * math.prod(shape))), g)
    mean = torch.randn(support.nnz, generator=g, dtype=dtype).requires_grad_()
    log_std = (torch.randn(support.nnz, generator=g, dtype=dtype) * 0.3 - 1).requires_grad_()
    x = torch.randn(x_shape, generator=g, dtype=dtype).requires_grad_()

    def product(x: Tensor, weight: Tensor) -> Tensor:
        if how is None:
            return x @ weight.t()
        return (F.conv1d if kind == "conv1d" else F.conv2d)(x, weight, None, *how)

    key = torch.tensor([1, 2])
    if how is None:
        y, factor, _ = ops.lrt_linear(x, mean, log_std, None, key, *support.index, False)
    else:
        y, factor, _ = ops.lrt_conv(x, mean, log_std, key, *support.index, list(shape), *how)
    weights = torch.randn(y.shape, generator=g, dtype=dtype)
    ours = torch.autograd.grad((y * weights).sum(), (x, mean, log_std))

    twin = [t.detach().double().requires_grad_() for t in (x, mean, log_std)]
    place = support.flat()

    def dense(values: Tensor) -> Tensor:
        return torch.zeros(math.prod(shape), dtype=torch.float64).index_put((place,), values).view(shape)

    variance = product(twin[0].square(), dense((2 * twin[2]).exp()))
    deviation = (variance + ops.TINY).sqrt()
    noise = (
        2 * deviation.detach() * factor.double()
    )  # the operator stores ε / (2 s); the reference uses the same ε
    expected = product(twin[0], dense(twin[1])) + deviation * noise
    theirs = torch.autograd.grad((expected * weights.double()).sum(), twin)
    errors = [
        relative(y.double(), expected),
        *(relative(a.double(), b) for a, b in zip(ours, theirs, strict=True)),
    ]
    bound = 1e-5 if dtype == torch.float32 else 1e-10
    return Check(
        f"gradients, {kind}, density {density:g}, {str(dtype)[6:]}", max(errors), bound, "relative error"
    )
