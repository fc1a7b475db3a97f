"""Networks that end in a mean over positions: compiled ones have the variance of shared errors, too."""

from __future__ import annotations

import pytest
import torch
from averaged_networks import Blocks, bayesian, several_ways
from torch import nn

from szilard import deploy
from szilard.bayes import propagate
from szilard.kernels import native

CLOSE = 1e-4


class Squeezed(nn.Module):
    """Positions of other channels become channels, which ends what positions share."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(2, 3, 1)

    def forward(self, x):
        x = self.first(x)
        return self.last(x.reshape(len(x), 2, 2 * x.shape[2], x.shape[3])).mean((2, 3))


def networks():
    torch.manual_seed(0)
    return {
        "blocks": Blocks(1), "hidden": Blocks(2), "features": Blocks(0), "several": several_ways(),
        "no pool": nn.Sequential(*several_ways()[:-3], nn.Flatten(), nn.Linear(7, 3)), "squeezed": Squeezed(),
        "norm": nn.Sequential(
            nn.Conv2d(2, 6, 3), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(6), nn.Flatten(), nn.Linear(6, 3),
            nn.Linear(3, 3),
        ),
    }  # fmt: skip


def close(network, x, backend):
    compiled = deploy.compile(network, x[:3], backend=backend, mode="moments")
    found, wanted = compiled(x), propagate(network, x)
    size = wanted.variance.abs().max()
    assert float((found.variance - wanted.variance).abs().max() / size) < CLOSE
    assert float((found.mean - wanted.mean).abs().max() / wanted.mean.abs().max()) < CLOSE
    return compiled


def inputs(count=5):
    return 1 + torch.randn(count, 2, 12, 12, generator=torch.Generator().manual_seed(0))


@pytest.mark.skipif(not native.available(), reason="there are no C++ kernels here")
@pytest.mark.parametrize("density", [1.0, 0.4])
@pytest.mark.parametrize("name", networks())
def test_native_programs_agree_with_pytorch(name, density):
    close(bayesian(networks()[name], density, 0.1), inputs(), "native")


@pytest.mark.skipif(not native.available(), reason="there are no C++ kernels here")
def test_networks_without_a_mean_over_positions_have_no_more_steps():
    from szilard.deploy.backends.native import _Programs
    from szilard.deploy.native.choice import Faster
    from szilard.deploy.native.layers import lowered

    def kinds(network):
        programs = _Programs(lowered(network, True, Faster(1, True, 1)), (2, 12, 12), True, 1)
        return {step.kind.name for step in programs[1]._steps}

    flat = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(75, 3))
    assert kinds(bayesian(flat)) == {"CONV", "MAX_POOL", "LINEAR"}
    assert {"SPREADS", "GAINS", "SCALE_ROWS", "CONTRIBUTIONS"} <= kinds(bayesian(Blocks()))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hidden", "several"])
def test_onnx_agrees_with_pytorch(name):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    close(bayesian(networks()[name], 1.0, 0.1), inputs(), "onnx")


def test_packed_layers_of_tvm_agree():
    from szilard.bayes.in_place import replace_in_place
    from szilard.deploy.lowered import with_moments
    from szilard.deploy.tvm_operators import GaussianLayer, JointLayer

    network, x = bayesian(Blocks(), std=0.1), inputs()
    made = with_moments(network)
    for module in list(made.modules()):
        if isinstance(module, GaussianLayer) and getattr(module, "geometry", (1, 1, 1, 1))[3] == 1:
            replace_in_place(module, JointLayer(module))
    with torch.no_grad():
        torch.testing.assert_close(
            made(x).moments.variance, propagate(network, x).variance, rtol=1e-4, atol=1e-7
        )
