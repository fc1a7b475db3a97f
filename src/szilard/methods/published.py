"""SSVI with the settings of its published code, if they differ from szilard's."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from szilard import bayes
from szilard.bayes.noise import mix
from szilard.methods import unused
from szilard.methods.ssvi import SSVI

MEAN_STD = 0.01  # of fresh means, whatever the fan-in
STD_MEAN, STD_SPREAD = 6e-4, 5e-4  # fresh σ = |N(6e-4, 5e-4²)|
WEIGHT_DECAY = 5e-4  # on everything but log σ


class PublishedSSVI(SSVI):
    """The preset of the reference implementation (200 epochs, batch 128, density 0.1, CIFAR ResNet-18).

    T rises to 0.01 over the first half, prior N(0, 0.005²), means N(0, 0.01²), σ about 6e-4, SGD with momentum
    0.9 and one rate for μ and σ; every 100 steps 30 % of the entries move, until three quarters of the steps. Two
    things differ: σ is stored as its logarithm (for such small σ equivalent to the softplus used there, whose slope is
    σ), and the optimiser makes its step before a move instead of skipping it. σ hardly changes in training: use this
    for comparison only.

    Args:
        density: fraction of weights that exist, all through training.
    """

    name = "ssvi-published"
    label = "SSVI, published settings"
    summary = "SSVI with the settings of the authors' published code"
    source = "Li et al. 2024, arXiv:2402.11025"
    order = 5

    def __init__(
        self,
        n_data: int,
        *,
        density: float = 0.1,
        temperature: float = 0.01,
        warmup: float = 0.5,
        prior: str = "fixed",
        prior_scale: float = 0.005,
        score: str = "SNR_mean_abs",
        growth_batches: int = 1,
        every: int = 100,
        lr: float = 0.01,
        lr_log_std: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(
            n_data, density=density, temperature=temperature, warmup=warmup, prior=prior, prior_scale=prior_scale,
            score=score, growth_batches=growth_batches, every=every, lr=lr, lr_log_std=lr_log_std, **options,
        )  # fmt: skip
        unused.warn(self.label, options, {"initial_std": 0.5}, "whose σ starts at 6e-4")

    def _convert(self, network: nn.Module) -> nn.Module:
        network = super()._convert(network)
        if any(parameter.is_meta for parameter in network.parameters()):
            return network
        generator = torch.Generator().manual_seed(mix(self.seed, 1))
        with torch.no_grad():
            for weight in bayes.weights(network).values():
                shape = weight.mean.shape
                std = STD_MEAN + STD_SPREAD * torch.randn(shape, generator=generator)
                if not self.pretrained:
                    weight.mean.copy_(MEAN_STD * torch.randn(shape, generator=generator))
                if weight.log_std is not None:
                    weight.log_std.copy_(std.abs().clamp(min=math.exp(-20)).log())
        return network

    def optimizer(self, network: nn.Module, lr: float | None = None) -> torch.optim.Optimizer:
        """SGD with momentum; weight decay on all but log σ."""
        groups = super().optimizer(network, lr).param_groups
        decays = [
            {**_plain(group), "weight_decay": WEIGHT_DECAY * (not number)}
            for number, group in enumerate(groups)
        ]
        return torch.optim.SGD(decays, momentum=0.9)


def _plain(group: dict[str, Any]) -> dict[str, Any]:
    return {key: group[key] for key in ("params", "lr", "initial_lr")}
