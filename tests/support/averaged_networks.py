"""Networks that end in a mean over positions, for tests of the errors that positions share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from szilard import bayes


def norm(channels: int, seed: int = 0) -> nn.BatchNorm2d:
    """A BatchNorm with statistics that are not the initial ones."""
    generator = torch.Generator().manual_seed(seed)
    made = nn.BatchNorm2d(channels)
    made.running_mean.copy_(0.3 * torch.randn(channels, generator=generator))
    made.running_var.copy_(0.5 + torch.rand(channels, generator=generator))
    made.weight.data.copy_(0.5 + torch.rand(channels, generator=generator))
    return made


class Blocks(nn.Module):
    """Residual blocks with a strided one, and a head of up to two layers."""

    def __init__(self, layers: int = 1) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(2, 8, 3, padding=1), norm(8)
        self.a, self.b = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.Conv2d(8, 8, 3, padding=1)
        self.norm_a, self.norm_b = norm(8, 1), norm(8, 2)
        self.down, self.norm_c = nn.Conv2d(8, 12, 3, 2, 1, groups=2), norm(12, 3)
        heads = ([], [nn.Linear(12, 3)], [nn.Linear(12, 6), nn.ReLU(), nn.Linear(6, 3)])
        self.head = nn.Sequential(*heads[layers])

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.first(x)))
        x = F.relu(self.norm_b(self.b(F.relu(self.norm_a(self.a(x))))) + x)
        shortcut = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))
        x = F.relu(self.norm_c(self.down(x)) + shortcut)
        answer: Tensor = self.head(x.mean((2, 3)))
        return answer


def several_ways() -> nn.Sequential:
    """Pools, activations and concatenations on the way to the mean."""

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(6, 4, 1), nn.Conv2d(6, 5, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat((torch.tanh(self.a(x)), F.leaky_relu(self.b(x), 0.2), x[:, 1:4]), 1)

    return nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.ReLU(), nn.MaxPool2d(2), Both(), nn.AvgPool2d(2, 2), nn.Conv2d(12, 7, 2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(7, 3),
    )  # fmt: skip


def bayesian(network: nn.Module, density: float = 1.0, std: float = 0.06) -> nn.Module:
    """In eval mode, with weights of this deviation."""
    return bayes.bayesianize(network, density=density, dense_stem=False, initial_std=std).eval()
