"""Bayesian compression: groups of weights share a scale, so that whole units are removed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from szilard import bayes
from szilard.bayes.groups import GroupScale, Horseshoe, NormalJeffreys, scale_units, scales
from szilard.bayes.noise import mix
from szilard.data import Split
from szilard.errors import SzilardError
from szilard.methods import unused
from szilard.methods.method import Method
from szilard.topology.moves import Optimizers

THRESHOLDS = {"normal-jeffreys": -4.0, "horseshoe": 2.0}  # of a group's drop score
FIRST_STD = 0.2  # upper limit of σ in the first layer


class BayesianCompression(Method):
    """Minimise E_q[-ln p(D|θ)] + T KL over weights and the scales of their groups (Louizos, Ullrich and Welling 2017).

    Args:
        prior: prior of the scales, ``"normal-jeffreys"`` (improper, so its divergence is no code length) or
            ``"horseshoe"``.
        tau: scale of each layer's half-Cauchy in the horseshoe; smaller is sparser.
        threshold: groups whose drop score (:meth:`szilard.bayes.groups.GroupScale.drop_score`) reaches it are removed;
            by default -4 with ``"normal-jeffreys"`` and 2 with ``"horseshoe"``.
        warmup: fraction of the steps over which T rises.
        pretrained: start the means at the network's own weights.
    """

    name = "bayesian-compression"
    label = "Bayesian compression"
    summary = "Scales shared by groups of weights: removes whole units"
    source = "Louizos et al. 2017, arXiv:1705.08665"
    order = 7
    converts = True

    def __init__(
        self,
        n_data: int,
        *,
        prior: str = "normal-jeffreys",
        tau: float = 1e-2,
        threshold: float | None = None,
        temperature: float = 1.0,
        warmup: float = 0.3,
        pretrained: bool = False,
        lr_log_std: float = 10.0,
        **options: Any,
    ) -> None:
        super().__init__(n_data, temperature=temperature, warmup=warmup, lr_log_std=lr_log_std, **options)
        if prior not in THRESHOLDS:
            raise SzilardError(f"unknown prior {prior!r}: choose {' or '.join(THRESHOLDS)}")
        if not tau > 0:
            raise SzilardError(f"tau must be positive, not {tau:g}")
        if prior != "horseshoe":
            unused.warn(f"prior {prior!r}", {"tau": tau}, {"tau": 1e-2}, "which has no scale of a layer")
        self.prior, self.tau, self.pretrained = prior, tau, pretrained
        self.threshold = THRESHOLDS[prior] if threshold is None else threshold

    def _convert(self, network: nn.Module) -> nn.Module:
        network = bayes.bayesianize(
            network,
            fresh=not self.pretrained,
            prior=bayes.FixedPrior(1.0),
            initial_std=0.1,
            seed=self.seed,
            **self._which(),
        )
        generator = torch.Generator().manual_seed(mix(self.seed, 2))
        # The projections of attention share their inputs and have no separate units.
        around = [module for module in network.modules() if isinstance(module, bayes.BayesAttention)]
        inside = {id(layer) for attention in around for layer in attention.children()}
        layers = [module for module in network.modules() if isinstance(module, bayes.BayesLayer)]
        for layer in layers:
            if id(layer) not in inside:
                scale_units(layer, self._scale(layer, generator))
        return network

    def _scale(self, layer: bayes.BayesLayer, generator: torch.Generator) -> GroupScale:
        support = layer.weight.support
        groups = support.shape[0] if isinstance(layer, bayes.BayesConv) else support.cols
        device = layer.weight.mean.device
        if device.type == "meta":  # shapes only; the scales need no memory either
            with device:
                return self._made(groups, layer, None)
        return self._made(groups, layer, generator).to(device)

    def _made(self, groups: int, layer: bayes.BayesLayer, generator: torch.Generator | None) -> GroupScale:
        if self.prior == "horseshoe":
            return Horseshoe(groups, layer.noise, generator, self.tau)
        return NormalJeffreys(groups, layer.noise, generator)

    def optimizer(self, network: nn.Module, lr: float | None = None) -> torch.optim.Optimizer:
        """Adam; the variances of the scales use the learning rate of log σ."""
        found = super().optimizer(network, lr)
        if len(found.param_groups) == 2:
            means, widths = found.param_groups
            fast = {id(parameter) for scale in scales(network) for parameter in scale.widths()}
            moved = [parameter for parameter in means["params"] if id(parameter) in fast]
            means["params"] = [parameter for parameter in means["params"] if id(parameter) not in fast]
            widths["params"] = [*widths["params"], *moved]
        return found

    def _divergence(self, network: nn.Module) -> Tensor:
        found = [scale.kl() for scale in scales(network)]
        return bayes.kl(network) + (torch.stack(found).sum() if found else 0)

    def after_step(self, network: nn.Module, optimizer: Optimizers = None) -> None:
        super().after_step(network, optimizer)
        first = next(iter(bayes.weights(network).values()), None)
        if first is not None and first.log_std is not None:
            with torch.no_grad():
                first.log_std.clamp_(max=math.log(FIRST_STD))

    def finish(
        self, network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], valid: Split | None = None
    ) -> None:
        for scale in scales(network):
            scale.drop(self.threshold)
        super().finish(network, batches, valid)
