"""Small networks whose channels are tied in different ways."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class Pad(nn.Module):
    """The shortcut of well-known code for CIFAR, which a lambda pads."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class PaddedResidual(nn.Module):
    """Channel c of 4 is added to channel 2 + c of 8, with constants in the forward."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.conv1, self.norm1 = nn.Conv2d(4, 6, 3, 2, 1, bias=False), nn.BatchNorm2d(6)
        self.conv2, self.norm2 = nn.Conv2d(6, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8)
        self.shortcut = Pad(lambda x: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2), "constant", 0))
        self.linear = nn.Linear(8, 3)

    def forward(self, x):
        x = F.relu(self.norm(self.stem(x)))
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        y += self.shortcut(x)
        y = F.relu(y)
        return self.linear(F.avg_pool2d(y, y.size()[3]).view(y.size(0), -1))


class Mobile(nn.Module):
    """An inverted bottleneck: 1x1, depthwise, gate of squeeze and excitation, 1x1, residual sum."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.widen = nn.Sequential(
            nn.Conv2d(4, 8, 1, bias=False), nn.BatchNorm2d(8), nn.Hardswish(inplace=True)
        )
        self.depthwise = nn.Sequential(
            nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), nn.BatchNorm2d(8), nn.ReLU6()
        )
        self.down, self.up = nn.Conv2d(8, 3, 1), nn.Conv2d(3, 8, 1)
        self.narrow = nn.Sequential(nn.Conv2d(8, 4, 1, bias=False), nn.BatchNorm2d(4))
        self.linear = nn.Linear(4, 3)

    def forward(self, x):
        x = self.stem(x)
        y = self.depthwise(self.widen(x))
        gate = torch.sigmoid(self.up(F.silu(self.down(F.adaptive_avg_pool2d(y, 1)))))
        x = x + self.narrow(gate * y)
        return self.linear(F.dropout(x.mean([2, 3]), 0.5, self.training))


class Grouped(nn.Module):
    """Grouped convolutions with a shuffle of channels between them, as in ShuffleNet."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3)
        self.b, self.norm = nn.Conv2d(8, 12, 3, groups=2), nn.BatchNorm2d(12)
        self.c = nn.Conv2d(12, 6, 1, groups=2)
        self.linear = nn.Linear(6, 3)

    def forward(self, x):
        x = F.relu(self.norm(self.b(F.relu(self.a(x)))))
        n, c, h, w = x.size()
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, -1, h, w)
        return self.linear(self.c(x).amax((2, 3)))


class Dense(nn.Module):
    """Concatenation, a split in unequal kinds, flattening to constant sizes."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (
            nn.Conv2d(2, 4, 3, padding=1),
            nn.Conv2d(4, 3, 3, padding=1),
            nn.Conv2d(7, 6, 3),
        )
        self.norm, self.prelu = nn.BatchNorm2d(7), nn.PReLU(6)
        self.d = nn.Linear(3 * 4, 5)
        self.e = nn.Linear(5, 3)

    def forward(self, x):
        x = F.relu(self.a(x))
        x = self.c(self.norm(torch.cat([x, F.relu(self.b(x))], 1)))
        left, right = self.prelu(x).chunk(2, dim=1)
        x = F.max_pool2d(left * torch.tanh(right), 2)
        return self.e(torch.sigmoid(self.d(x.view(-1, 12))))


class Tokens(nn.Module):
    """A residual block of linear layers on ``[B, T, F]``, and a transposed read of it."""

    def __init__(self):
        super().__init__()
        self.embed, self.up, self.down = nn.Linear(5, 4), nn.Linear(4, 8), nn.Linear(8, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = self.embed(x)
        x = x + self.down(F.gelu(self.up(x)))
        return self.head(x.transpose(1, 2).mean(-1))


def settled(network):
    """A network in eval mode whose norms have statistics and affine maps that are not the first ones."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                for tensor in (module.weight, module.bias, module.running_mean):
                    tensor.add_(0.5 * torch.randn(tensor.shape, generator=generator))
    return network.eval()


#: A class, and the shape of one input.
CASES = {
    "padded": (PaddedResidual, (3, 8, 8)),
    "mobile": (Mobile, (3, 6, 6)),
    "grouped": (Grouped, (3, 8, 8)),
    "dense": (Dense, (2, 6, 6)),
    "tokens": (Tokens, (7, 5)),
}
