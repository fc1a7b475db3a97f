"""BatchNorm in its canonical form computes the same outputs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from szilard.compression import CanonicalBatchNorm, Draft, Setting
from szilard.errors import SzilardWarning
from szilard.networks import copied


class Shared(nn.Module):
    """One convolution before two BatchNorms, so neither may be folded into it."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.a, self.b = nn.BatchNorm2d(4), nn.BatchNorm2d(4)

    def forward(self, x):
        return self.a(self.conv(x)) + self.b(self.conv(x))


class Forked(nn.Module):
    """The convolution's output is used by another operation as well."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x):
        y = self.conv(x)
        return self.norm(y) + y


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.second = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.norm(self.first(x)))


class Dynamic(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x):
        y = self.conv(x)
        return self.norm(y) if y.mean() > -1e9 else y


def settled(network, *shape):
    """The network in eval mode, with non-initial statistics, scales and offsets; and inputs."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        network.train()(2 + 3 * torch.randn(16, *shape, generator=generator))
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine:
                module.weight.copy_(torch.randn(module.weight.shape, generator=generator))
                module.bias.copy_(torch.randn(module.bias.shape, generator=generator))
    return network.eval(), torch.randn(8, *shape, generator=generator)


def canonical(network, *inputs):
    draft = Draft(copied(network))
    CanonicalBatchNorm()(draft, Setting(1e-6, list(inputs), network))
    return draft


@pytest.mark.parametrize(
    ("network", "shape", "folded"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU()), (3, 6, 6), 1),
        (nn.Sequential(nn.Conv2d(4, 4, 3, groups=2), nn.BatchNorm2d(4)), (4, 6, 6), 1),
        (nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4)), (5,), 1),
        (nn.Sequential(nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4)), (2, 9), 1),
        (nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 4)), (5,), 0),
        (nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.BatchNorm1d(4)), (5,), 0),
        (nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4, affine=False)), (5,), 0),
        (Shared(), (3, 4, 4), 0),
        (Forked(), (3, 4, 4), 0),
        (Tied(), (4,), 0),
    ],
)
def test_the_outputs_stay_the_same(network, shape, folded):
    network, x = settled(network, *shape)
    draft = canonical(network, x)
    assert len(draft.norms) == folded
    with torch.no_grad():
        torch.testing.assert_close(draft.network(x), network(x), rtol=1e-4, atol=1e-4)
    for name in draft.norms:
        norm = draft.network.get_submodule(name)
        assert torch.equal(norm.weight, torch.ones(4))
        assert torch.equal(norm.running_mean, torch.zeros(4))
        assert norm.running_var.unique().numel() == 1


def test_a_network_without_a_static_graph_is_unchanged_with_a_warning():
    network, x = settled(Dynamic(), 3, 4, 4)
    with pytest.warns(SzilardWarning, match="no static graph"):
        draft = canonical(network)
    with torch.no_grad():
        torch.testing.assert_close(draft.network(x), network(x), rtol=1e-4, atol=1e-4)
