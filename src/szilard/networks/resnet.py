"""The residual networks for CIFAR."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from szilard.errors import SzilardError
from szilard.networks.norm import NormReLU

Shortcut = Literal["A", "B"]


class ResNet(nn.Module):
    """Three stages of residual blocks with 16, 32 and 64 channels, depth 6n + 2 (He et al. 2015, §4.2).

    Depth 20 on 3x32x32 with ten classes has 269 722 parameters with shortcuts A (the paper's: strided
    identity, missing channels zero; no parameters) and 272 474 with B (1x1 convolutions). The parameter names
    are those of published CIFAR checkpoints (``layer1.0.conv1.weight``, ``linear.weight``).

    Args:
        input_shape: ``(C, H, W)`` of any size.
        n_outputs: width of the last layer.
        depth: 20, 32, 44, 56, ...
        shortcut: "A" or "B".

    Shapes: ``[B, C, H, W] -> [B, n_outputs]``.
    """

    def __init__(
        self, input_shape: Sequence[int], n_outputs: int, depth: int = 20, shortcut: Shortcut = "A"
    ) -> None:
        super().__init__()
        if len(input_shape) != 3:
            raise SzilardError(
                f"resnet needs images (C, H, W), not inputs of shape {tuple(input_shape)}; use mlp"
            )
        if depth < 8 or (depth - 2) % 6:
            raise SzilardError(f"a CIFAR resnet has depth 6n + 2 (20, 32, 44, 56, ...), not {depth}")
        n = (depth - 2) // 6
        self.conv1 = nn.Conv2d(input_shape[0], 16, 3, padding=1, bias=False)
        self.bn1 = NormReLU(16)
        self.layer1 = _stage(n, 16, 16, 1, shortcut)
        self.layer2 = _stage(n, 16, 32, 2, shortcut)
        self.layer3 = _stage(n, 32, 64, 2, shortcut)
        self.linear = nn.Linear(64, n_outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


class Block(nn.Module):
    """Two 3x3 convolutions with a shortcut: ``[B, n_in, H, W] -> [B, n_out, H / stride, W / stride]``."""

    def __init__(self, n_in: int, n_out: int, stride: int, shortcut: Shortcut) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn1 = NormReLU(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn2 = NormReLU(n_out)
        self.shortcut: nn.Module = nn.Identity()
        if n_in != n_out or stride != 1:
            if shortcut == "A":
                self.shortcut = PaddedShortcut(stride, n_out - n_in)
            else:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out)
                )

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x))
        return self.bn2(self.conv2(y), self.shortcut(x))


class PaddedShortcut(nn.Module):
    """Option A: every ``stride``-th pixel, with ``extra`` channels of zeros, half before and half after."""

    def __init__(self, stride: int, extra: int) -> None:
        super().__init__()
        self.stride, self.before, self.behind = stride, extra // 2, extra - extra // 2

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.before, self.behind))


def _stage(n: int, n_in: int, n_out: int, stride: int, shortcut: Shortcut) -> nn.Sequential:
    blocks = [Block(n_in, n_out, stride, shortcut)]
    blocks += [Block(n_out, n_out, 1, shortcut) for _ in range(n - 1)]
    return nn.Sequential(*blocks)
