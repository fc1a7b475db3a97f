"""Products with a weight of whole rows and columns, as dense products of the existing part.

The values of such a support, in their order, are the dense matrix ``W [kept rows, kept columns]`` (a kernel with the
kept channels for a convolution). With x_K the kept inputs,

    y_R = x_K Wᵀ,   or drawn:   y_R = x_K μᵀ + sqrt(v + tiny) ∘ ε,   v = (x_K∘x_K)(σ∘σ)ᵀ,   and 0 elsewhere,

with noise only where an output exists. This is plain differentiable torch, so tensor cores, ``torch.compile`` and
autograd work without custom operators.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from szilard.kernels.dispatch import implementation
from szilard.sparse.neuron import Neuron
from szilard.sparse.ops import TINY, normal
from szilard.sparse.support import Support

#: A linear map of the existing part, feature-major or by channel: (kept x, values as a dense weight) -> kept y.
Map = Callable[[Tensor, Tensor], Tensor]


def applies(support: Support) -> bool:
    """Whether a linear layer with this support is computed as a smaller dense one."""
    return isinstance(support.pattern, Neuron)


def applies_to_conv(support: Support, x: Tensor, groups: int) -> bool:
    """The same for a convolution of ``x``: not with groups, which can keep different numbers of outputs, nor with the
    C++ kernels, which are faster than torch's convolutions of few channels (ResNet-20 at 5 %: 0.5 to 0.65 of the
    step)."""
    return applies(support) and groups == 1 and implementation(x) != "cpp"


def linear(x: Tensor, values: Tensor, support: Support) -> Tensor:
    """``x [B, I] -> [B, O]``."""
    return _outputs(_matrix(_inputs(x.t(), 0, support), _weight(values, support)), 0, support).t()


def lrt_linear(x: Tensor, mean: Tensor, log_std: Tensor, key: Tensor, support: Support) -> Tensor:
    """Outputs drawn by local reparametrisation, ``[B, O]``.

    Args:
        key: int64 ``[2]`` on the CPU, (seed, draw) of the noise.
    """
    return _outputs(_drawn(_matrix, _inputs(x.t(), 0, support), mean, log_std, key, support), 0, support).t()


def conv(x: Tensor, values: Tensor, support: Support, *geometry: list[int]) -> Tensor:
    """``x [B, C, *size] -> [B, O, *size]``; ``geometry`` is stride, padding, dilation."""
    return _outputs(_convolution(*geometry)(_inputs(x, 1, support), _weight(values, support)), 1, support)


def lrt_conv(
    x: Tensor,
    mean: Tensor,
    log_std: Tensor,
    key: Tensor,
    support: Support,
    *geometry: list[int],
) -> Tensor:
    """As :func:`conv`, drawn at each output position by local reparametrisation."""
    y = _drawn(_convolution(*geometry), _inputs(x, 1, support), mean, log_std, key, support)
    return _outputs(y, 1, support)


def _drawn(product: Map, x: Tensor, mean: Tensor, log_std: Tensor, key: Tensor, support: Support) -> Tensor:
    y = product(x, _weight(mean, support))
    std = (product(x.square(), _weight((2 * log_std).exp(), support)) + TINY).sqrt()
    return torch.addcmul(y, std, normal(key, y.detach()))


def _matrix(x: Tensor, weight: Tensor) -> Tensor:
    return weight @ x  # feature-major: complete rows are gathered and scattered


def _convolution(stride: list[int], padding: list[int], dilation: list[int]) -> Map:
    convolve = F.conv1d if len(stride) == 1 else F.conv2d
    return lambda x, weight: convolve(x, weight, None, stride, padding, dilation)


def _weight(values: Tensor, support: Support) -> Tensor:
    return values.view(len(support.kept_rows), len(support.kept_channels), *support.shape[2:])


def _inputs(x: Tensor, dim: int, support: Support) -> Tensor:
    return x if len(support.kept_channels) == support.shape[1] else x.index_select(dim, support.kept_channels)


def _outputs(y: Tensor, dim: int, support: Support) -> Tensor:
    if len(support.kept_rows) == support.rows:
        return y
    size = list(y.shape)
    size[dim] = support.rows
    return y.new_zeros(size).index_copy(dim, support.kept_rows, y)
