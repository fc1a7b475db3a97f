"""Small networks and their inputs, for tests of compiled networks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import szilard
from szilard import deploy, networks


def bayesian(spec: str = "mlp:16", shape=(1, 8, 8), outputs: int = 4, density: float = 1.0) -> nn.Module:
    """A network by name with Gaussian weights that are wide enough to matter, in eval mode."""
    network = szilard.bayesianize(networks.build(spec, shape, outputs), density=density).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in network.named_parameters():
            if name.endswith("log_std"):
                tensor.fill_(-2.5)
        for (
            name,
            tensor,
        ) in network.named_buffers():  # statistics of BatchNorm that a missing one would not match
            if tensor.is_floating_point() and tensor.dim() == 1:
                least = (
                    -0.5 if name.endswith("running_mean") else 2.5
                )  # mean and deviation stay near 1 in all layers
                tensor.copy_(least + torch.rand(tensor.shape, generator=generator))
    return network


def inputs(count: int, shape=(1, 8, 8)) -> Tensor:
    """``[count, *shape]`` random inputs, always the same."""
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(0))


def differences(found: deploy.Prediction, wanted: deploy.Prediction) -> dict[str, float]:
    """The largest difference of each tensor: absolute, for moments relative to their largest entry."""
    answer = {}
    for name in ("answer", "aleatoric", "epistemic", "mean", "variance"):
        one, other = getattr(found, name), getattr(wanted, name)
        assert (one is None) == (other is None), name
        if one is not None:
            assert one.shape == other.shape, name
            scale = float(other.abs().max()) if name in ("mean", "variance") else 1.0
            answer[name] = float((one - other).abs().max()) / max(scale, 1e-12)
    return answer
