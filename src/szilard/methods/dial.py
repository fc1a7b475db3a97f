"""A dial between variational inference and Markov chains."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from szilard import bayes
from szilard.bayes.draws import Draws
from szilard.bayes.log_prior import log_prior, parameter_priors
from szilard.errors import SzilardError
from szilard.methods.sampled import Sampled, draws_of
from szilard.networks.takes import call
from szilard.sampling.descend_and_sample import DescendAndSample
from szilard.topology.moves import GrowthFactory, Moves


class Dial(Sampled):
    """Draws from p(θ|D)^d q(θ)^(1-d): variational inference at d = 0, the posterior at d = 1.

    Each chain descends to a Gaussian q of its own, by variational inference on a sparse support as in SSVI (T = 1), and
    samples from there; its coordinates are scaled by q's standard deviations. Biases and normalisations have the widths
    of a Laplace approximation in q. With a larger d a draw depends less on q, and chains need longer to mix: in a
    Gaussian posterior the precision of the draws is d Λ + (1 - d) diag Λ.

    Args:
        dial: d.
        initial_std: σ at the start, as a fraction of the root mean square of the weight's means.
        growth: where entries grow: ``"noisy"``, ``"mean"``, ``"momentum"`` or ``"random"``, as in SSVI.
        lr_log_std: learning rate of log σ as a multiple of ``lr``.
    """

    name = "dial"
    label = "dial between VI and MCMC"
    summary = "Draws between variational inference and the posterior"
    source = "the annealed path between q and p; Hoffman and Ma 2020, arXiv:2005.09056, on its costs"
    order = 42
    unused_options: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {"warmup": 0.0, "optimizer": "adam", "momentum": 0.9}
    )

    def __init__(
        self,
        n_data: int,
        *,
        dial: float = 0.9,
        descent: float = 0.5,
        initial_std: float = 0.1,
        growth: str | GrowthFactory = "noisy",
        lr_log_std: float = 10.0,
        **options: Any,
    ) -> None:
        if not 0 <= dial <= 1:
            raise SzilardError(
                f"dial must be in [0, 1], from variational inference (0) to the posterior (1), not {dial:g}"
            )
        self.dial, self.initial_std = dial, initial_std
        super().__init__(n_data, descent=descent, lr_log_std=lr_log_std, **options)
        self.growth = growth
        self.moves = Moves(self.moves.schedule, "snr", self.moves.batches, growth, self.seed)

    def _convert(self, network: nn.Module) -> nn.Module:
        return self._on_supports(
            network, point=False, prior=self.prior, prior_scale=self.prior_scale, initial_std=self.initial_std
        )

    def optimizer(self, network: nn.Module, lr: float | None = None) -> DescendAndSample:
        made = super().optimizer(network, lr)
        wide = {
            id(weight.log_std)
            for weight in bayes.weights(draws_of(network).chain).values()
            if weight.log_std is not None
        }
        (group,) = made.param_groups
        log_std = [parameter for parameter in group["params"] if id(parameter) in wide]
        group["params"] = [parameter for parameter in group["params"] if id(parameter) not in wide]
        if log_std:
            made.add_param_group({**group, "params": log_std, "lr": group["lr"] * self.lr_log_std})
        return made

    def _forward(self, network: nn.Module, x: Tensor) -> Tensor:
        chain = draws_of(network).chain
        if self._place().descends and not (self.growth == "mean" and self.moves.listening):
            return call(network, x)
        with bayes.mode(chain, "mean"):
            return call(network, x)

    def _divergence(self, network: nn.Module) -> Tensor:
        chain = draws_of(network).chain
        priors = parameter_priors(chain)
        if not self._place().descends:
            return -log_prior(priors)
        means = {id(weight.mean) for weight in bayes.weights(chain).values()}
        others = [one for one in priors if id(one.parameter) not in means]
        return bayes.kl(chain) - log_prior(others)

    def _begin(self, held: Draws, chain: int) -> None:
        super()._begin(held, chain)
        for weight in bayes.weights(held.chain).values():
            if weight.log_std is not None:
                size = weight.mean.detach().square().mean().sqrt().clamp(min=1e-6)
                with torch.no_grad():
                    weight.log_std.fill_(math.log(float(size) * self.initial_std))

    def _scales(self, held: Draws) -> dict[Tensor, Tensor | float]:
        found = super()._scales(held)
        for weight in bayes.weights(held.chain).values():
            if weight.log_std is not None and weight.mean in found:
                found[weight.mean] = math.sqrt(self.n_data) * weight.log_std.detach().exp()
        return found

    def _curvature_of_target(self, largest: float) -> float:
        return self.dial * largest + (1 - self.dial)  # in coordinates in which q has the curvature 1

    def _begin_sampling(self, held: Draws, sampler: DescendAndSample) -> None:
        super()._begin_sampling(held, sampler)
        sampler.anchor(self.dial)
        with torch.no_grad():  # a draw from q, so that chains do not start in its centre
            for number, parameter in enumerate(p for group in sampler.param_groups for p in group["params"]):
                if "anchor" in sampler.state[parameter]:
                    noise = sampler.noise(sampler.param_groups[0], -1 - number, parameter)
                    parameter.addcmul_(noise, sampler.state[parameter]["scale"], value=self.n_data**-0.5)
