"""The bottleneck ResNet-56 whose CIFAR-100 weights are distributed with NNCodec."""

from __future__ import annotations

from torch import Tensor, nn


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with a shortcut: ``[B, n_in, H, W] -> [B, 4 width, H / stride, W / stride]``."""

    def __init__(self, n_in: int, width: int, stride: int) -> None:
        super().__init__()
        n_out = 4 * width
        self.conv1 = nn.Conv2d(n_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, n_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(n_out)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y)).relu()
        return (self.bn3(self.conv3(y)) + self.downsample(x)).relu()


class BottleneckResNet56(nn.Module):
    """Three stages of six bottlenecks, 16, 32 and 64 wide (He et al. 2015, §4.1 and §4.2): ``[B, 3, H, W] -> [B, n]``.

    With 100 classes: 605 360 weights in the convolutions and the last layer, and 18 084 other parameters.
    """

    def __init__(self, n_outputs: int = 100) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, 1)
        self.layer2 = _stage(64, 32, 2)
        self.layer3 = _stage(128, 64, 2)
        self.fc = nn.Linear(256, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x)).relu()
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean((2, 3)))


def _stage(n_in: int, width: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        Bottleneck(n_in, width, stride), *(Bottleneck(4 * width, width, 1) for _ in range(5))
    )
