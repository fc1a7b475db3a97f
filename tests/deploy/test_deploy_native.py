"""The native backend gives the outputs of PyTorch, and refuses what it has no kernels for."""

from __future__ import annotations

import os

import pytest
import torch
from kernels_used import needs_kernels
from torch import nn
from torch.nn import functional as F

import szilard
from szilard import SzilardError, bayes, deploy, networks
from szilard.deploy.native.traced import Sparse, scaled
from szilard.kernels import native

NETWORKS = (
    ("mlp:20,20", (1, 8, 8)),
    ("lenet5", (1, 12, 12)),
    ("resnet8", (3, 8, 8)),
    ("resnet8-b", (3, 8, 8)),
)
pytestmark = pytest.mark.skipif(not native.available(), reason="there are no C++ kernels here")


def bayesian(network, density=1.0, spread=1.5):
    """In eval mode, with wide posteriors and BatchNorm statistics that are not the initial ones."""
    found = szilard.bayesianize(network, density=density).eval()
    generator = torch.Generator().manual_seed(1)
    for weight in bayes.weights(found).values():
        if weight.log_std is not None:
            weight.log_std.data += spread
    for module in found.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(0.3 * torch.randn(module.running_mean.shape, generator=generator))
            module.running_var.copy_(0.5 + torch.rand(module.running_var.shape, generator=generator))
    return found


def agree(network, x, **options):
    """Largest difference of each output to that of PyTorch, relative to the output's size."""
    ours = deploy.compile(network, x, backend="native", **options)
    theirs = deploy.compile(network, x, backend="eager", **options)
    for part in (x, x[:1]):
        found, wanted = ours(part), theirs(part)
        for name in ours.outputs:
            torch.testing.assert_close(getattr(found, name), getattr(wanted, name), rtol=2e-4, atol=2e-5)
    return ours


@pytest.mark.parametrize("density", [1.0, 0.3])
@pytest.mark.parametrize("mode", ["point", "moments"])
@pytest.mark.parametrize(("name", "shape"), NETWORKS)
def test_it_gives_the_outputs_of_pytorch(name, shape, mode, density):
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    agree(bayesian(networks.build(name, shape, 5), density), x, mode=mode)


def test_batches_above_eight_are_several_calls():
    network = bayesian(networks.build("mlp:10", (6,), 3))
    x = torch.randn(19, 6, generator=torch.Generator().manual_seed(0))
    ours = agree(network, x)
    torch.testing.assert_close(ours(x).answer[16:17], ours(x[16:17]).answer)


@pytest.mark.parametrize("targets", [1, 3])
def test_a_regression_has_its_learned_noise(targets):
    network = networks.WithNoise(networks.build("mlp:16", (5,), targets), outputs=targets)
    x = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))
    task = szilard.likelihood.NoisyGaussian(outputs=targets)
    agree(bayesian(network), x, task=task)


def test_several_labels_and_one_logit():
    x = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))
    agree(bayesian(networks.build("mlp:16", (5,), 4)), x, task="multilabel")
    found = agree(bayesian(networks.build("mlp:16", (5,), 1)), x)(x)
    assert found.answer.shape == (2, 2)
    torch.testing.assert_close(found.answer.sum(1), torch.ones(2))


class Odd(nn.Module):
    """Functions, methods and in-place forms of what the backend knows."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1, padding_mode="zeros")
        self.grouped = nn.Conv2d(4, 8, 3, padding="same", groups=2, dilation=2)
        self.norm = nn.BatchNorm2d(8)
        self.last = nn.Linear(8 * 4, 3)

    def forward(self, x):
        y = F.relu(self.first(x), inplace=True)
        z = self.norm(self.grouped(y))
        y = torch.cat((y, F.silu(y)), dim=1)
        y = y + z.relu_()
        y = F.avg_pool2d(F.max_pool2d(y, 2), 2).contiguous()
        return self.last(F.gelu(F.dropout(y, 0.5, self.training).view(y.size(0), -1)))


def test_functions_methods_and_forms_in_place():
    torch.manual_seed(0)
    x = torch.randn(2, 2, 8, 8)
    for mode in ("point", "moments"):
        agree(bayesian(Odd(), 0.5), x, mode=mode)


class Twice(nn.Module):
    """A layer's output is read before and after its ReLU, and its normalised form, too."""

    def __init__(self):
        super().__init__()
        self.layer, self.norm = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3)

    def forward(self, x):
        y = self.layer(x)
        return (torch.relu(y) + y + self.norm(y)).flatten(1)


def test_what_is_read_twice_is_not_fused_away():
    torch.manual_seed(0)
    agree(bayesian(Twice()), torch.randn(2, 1, 5, 5), mode="point")


def test_batchnorm_is_folded_into_the_layer_before_it():
    weight = Sparse(
        torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 1.0, 4.0]), torch.tensor([0, 2, 3], dtype=torch.int32),
        torch.tensor([0, 1, 1], dtype=torch.int32), (2, 2),
    )  # fmt: skip
    found = scaled(weight, torch.tensor([2.0, -1.0]))
    assert found.mean.tolist() == [2, 4, -3]
    assert found.variance.tolist() == [4, 4, 4]


class Unknown(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return torch.cumsum(self.layer(x), 1)


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (Unknown(), "cumsum"),
        (nn.Sequential(nn.Linear(4, 4), nn.Softplus(), nn.Linear(4, 3)), "softplus"),
        (nn.Sequential(nn.Unflatten(1, (1, 4)), nn.Linear(4, 4), nn.Flatten()), "unflatten"),
    ],
)
def test_an_unknown_operation_is_named(network, reason):
    with pytest.raises(SzilardError, match=reason):
        deploy.compile(network.eval(), torch.randn(2, 4), backend="native", mode="point")


@pytest.mark.parametrize("name", ["mlp:20", "lenet5"])
def test_moments_given_for_every_parameter(name):
    network = networks.build(name, (1, 12, 12), 3)
    given = {
        key: (value.detach(), 0.05 * torch.ones_like(value)) for key, value in network.named_parameters()
    }
    found = agree(bayes.from_moments(network, given).eval(), torch.randn(2, 1, 12, 12), mode="moments")
    assert (found(torch.randn(2, 1, 12, 12)).variance > 0).all()


def test_gaussian_scales_of_batchnorm_have_no_kernel():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(18, 2)).eval()
    made = bayes.from_moments(network, {"1.weight": (torch.ones(2), 0.1 * torch.ones(2))}).eval()
    with pytest.raises(SzilardError, match="Gaussian scale"):
        deploy.compile(made, torch.randn(2, 1, 5, 5), backend="native")


def test_it_says_how_weights_are_stored():
    network = bayesian(networks.build("mlp:40", (30,), 3), 0.2)
    compiled = deploy.compile(network, torch.randn(1, 30), backend="native")
    assert any("µs sparse" in line and "µs dense" in line for line in compiled.decisions)


def test_it_writes_no_file(tmp_path):
    network = bayesian(networks.build("mlp:4", (3,), 2))
    with pytest.raises(SzilardError, match="writes no file"):
        deploy.compile(network, torch.randn(1, 3), backend="native", path=tmp_path / "network.bin")
    assert not list(tmp_path.iterdir())


@needs_kernels
@pytest.mark.parametrize("threads", [1, 2])
def test_denormal_variances_are_zero_and_the_callers_mode_stays(threads):
    """Units that are almost never active have variances below the smallest normal number."""
    network = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 3))
    network = bayes.bayesianize(network).eval()
    with torch.no_grad():
        for weight in bayes.weights(network).values():
            weight.log_std.fill_(-47.0)  # variances of 1e-41
    x = torch.rand(1, 512)
    if threads > len(os.sched_getaffinity(0)):
        pytest.skip("one processor")
    compiled = deploy.compile(network, x, backend="native", threads=threads)
    assert float(compiled(x).variance.abs().max()) == 0
    small = torch.full((4,), 1e-39)
    assert bool((small * 0.5 > 0).all())
