"""Normalisation and pooling that keep the layout of sparse convolutions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from szilard.errors import SzilardError
from szilard.kernels import normalize
from szilard.networks.norm import NormReLU
from szilard.networks.resnet import PaddedShortcut


class _InnermostNorm(nn.BatchNorm2d):
    """BatchNorm2d that keeps the layout of batch-innermost input (:mod:`szilard.kernels.layout`)."""

    def _normalize(self, x: Tensor, shortcut: Tensor | None, relu: bool) -> Tensor:
        self._check_input_dim(x)
        if x.shape[1] != self.num_features:
            raise SzilardError(f"a normalisation of {self.num_features} channels was given {x.shape[1]}")
        if self.training or self.running_mean is None or self.running_var is None:
            y, mean, variance, _ = normalize.batch_norm(x, self.weight, self.bias, shortcut, relu, self.eps)
            if self.training and self.track_running_stats:
                self._follow(mean, variance, x.numel() // x.shape[1])
            return y
        scale = torch.rsqrt(self.running_var + self.eps)
        if self.weight is not None:
            scale = scale * self.weight
        shift = -self.running_mean * scale
        if self.bias is not None:
            shift = shift + self.bias
        y = x * scale.view(-1, 1, 1) + shift.view(-1, 1, 1)
        y = y if shortcut is None else y + shortcut
        return F.relu(y) if relu else y

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, count: int) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        rate = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, rate)
        self.running_var.lerp_(variance * (count / max(count - 1, 1)), rate)  # unbiased, as in torch


class InnermostNorm(_InnermostNorm):
    def forward(self, x: Tensor) -> Tensor:
        return self._normalize(x, None, False) if normalize.supports(x) else super().forward(x)


class InnermostNormReLU(_InnermostNorm, NormReLU):
    def forward(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        if normalize.supports(x):
            return self._normalize(x, shortcut, True)
        return NormReLU.forward(self, x, shortcut)


class InnermostMaxPool(nn.MaxPool2d):
    """MaxPool2d that keeps the layout of batch-innermost input."""

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride, padding, dilation = (
            [n, n] if isinstance(n, int) else list(n)
            for n in (self.kernel_size, self.stride, self.padding, self.dilation)
        )
        plain = not self.ceil_mode and not self.return_indices and dilation == [1, 1]
        if not (plain and kernel[0] * kernel[1] < 256 and normalize.supports(x)):
            return super().forward(x)
        return normalize.max_pool(x, kernel, stride, padding)[0]


class InnermostShortcut(PaddedShortcut):
    """The shortcut without parameters, which keeps the layout of its input."""

    def forward(self, x: Tensor) -> Tensor:
        if not normalize.supports(x):
            return super().forward(x)
        x = x.movedim(0, -1)[:, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, 0, 0, self.before, self.behind)).movedim(-1, 0)


_ALIKE: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm2d: InnermostNorm,
    NormReLU: InnermostNormReLU,
    nn.MaxPool2d: InnermostMaxPool,
    PaddedShortcut: InnermostShortcut,
}


def keep_innermost(network: nn.Module) -> None:
    """Make the normalisation and pooling of a network with sparse convolutions keep their layout, in place.

    Only the class of the modules changes; parameters, buffers, hooks and identity stay.
    """
    for module in network.modules():
        if type(module) in _ALIKE:
            module.__class__ = _ALIKE[type(module)]


def release_innermost(network: nn.Module) -> None:
    """Undo :func:`keep_innermost`, in place: the modules have the classes again that the network was built with."""
    before = {new: old for old, new in _ALIKE.items()}
    for module in network.modules():
        if type(module) in before:
            module.__class__ = before[type(module)]
