"""The products of :mod:`szilard.sparse.ops` in differentiable functions of torch, for function transforms.

The operators have a first derivative only. ``torch.func`` (``vmap``, ``grad``, ``jvp``), forward-mode differentiation
and a second backward pass need functions that torch can trace: the dense weight is made from the values, and torch
multiplies by it. Memory and time are those of a dense network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from szilard.kernels.geometry import Convolution
from szilard.kernels.transforms import outside_transforms, transformed
from szilard.sparse.portable import TINY, normal
from szilard.sparse.support import Index, Support, flat_index, to_dense

_CONVOLVE: dict[int, Callable[..., Tensor]] = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}

#: A product with a dense weight: (x, dense weight) -> y.
Product = Callable[[Tensor, Tensor], Tensor]


def dense_weight(values: Tensor, support: Support) -> Tensor:
    """The dense weight with ``values [nnz]`` at the entries of a support."""
    if support.is_full or not transformed():
        return to_dense(values, support.crow, support.col, support.shape)
    return dense(values, support.index, support.shape)


def dense(values: Tensor, index: Index, shape: Sequence[int]) -> Tensor:
    """A dense tensor of ``shape``, without in-place writes, which ``vmap`` cannot do for a batch of values."""
    weight = torch.Size(shape)
    if values.shape[-1] == weight.numel():
        return values.reshape(shape)
    flat = flat_index(index.crow, index.col, weight[1:].numel())
    empty = torch.zeros(weight.numel(), dtype=values.dtype, device=values.device)
    return empty.scatter(0, flat, values).reshape(shape)


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """``x [..., I] -> [..., O]``."""
    return F.linear(x, weight)


def convolution(how: Convolution) -> Product:
    """``x [B, C, *size] -> [B, O, *size]``, 1-d to 3-d."""

    def convolve(x: Tensor, weight: Tensor) -> Tensor:
        return _CONVOLVE[weight.dim()](x, weight, None, how.stride, how.padding, how.dilation, how.groups)

    return convolve


def drawn(
    product: Product, x: Tensor, mean: Tensor, variance: Tensor, noise: Callable[[Tensor], Tensor]
) -> Tensor:
    """Outputs by local reparametrisation: ``x μᵀ + s ∘ ε`` with ``s² = (x∘x)(σ∘σ)ᵀ + tiny``.

    Args:
        mean, variance: dense weights.
        noise: makes ε for outputs of this shape and type.
    """
    y = product(x, mean)
    std = (product(x.square(), variance) + TINY).sqrt()
    return y + std * noise(std)


def noise_like(key: Tensor, shape: torch.Size, like: Tensor) -> Tensor:
    """Standard normal numbers of ``shape``, a function of the key; under ``vmap`` the same for every example."""
    with outside_transforms():
        return normal(key, list(shape), torch.empty(0, dtype=like.dtype, device=like.device))


LOCAL = (
    "a gradient of locally drawn outputs cannot be differentiated again; wrap the forward pass in "
    "szilard.bayes.mode(network, 'sample') for one draw of the weights, or 'mean' for their means"
)
BLOCKS = (
    "a gradient of the Triton kernels for blocks cannot be differentiated again; set SZILARD_KERNELS=torch"
)
