"""Gaussians fitted to the path of SGD, one for each chain (MultiSWAG)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor

from szilard.bayes.draws import Draws
from szilard.bayes.noise import mix
from szilard.errors import SzilardError
from szilard.methods.sampled import Sampled
from szilard.sampling.chains import Chains
from szilard.sampling.descend_and_sample import DescendAndSample

_DRAW = 0x7377  # separates the random numbers of draws from others


class SWAG(Sampled):
    """Draws from Gaussians that have the mean and covariance of SGD's path at a constant rate (Maddox et al. 2019).

    After its descent a chain moves by SGD with momentum and without noise of its own. Of ``positions`` on its path the
    mean, the variance of each weight, and the last ``rank`` deviations from the running mean are kept. A draw is

        θ = mean + √½ (√variance ∘ z₁ + D z₂ / √(rank - 1)).

    With several chains it is MultiSWAG (Wilson and Izmailov 2020). Its width depends on the rate, not on the posterior:
    the verdict on its chains says whether they agree, and not whether the width is right. ``step_size`` and
    ``every_curvature`` are not used.

    Args:
        positions: on the path of each chain.
        rank: deviations that are kept.
        path_lr: rate of SGD on the path.
    """

    name = "swag"
    label = "MultiSWAG"
    summary = "Gaussians fitted to SGD's path, one for each chain"
    source = "Maddox et al. 2019, arXiv:1902.02476; Wilson and Izmailov 2020, arXiv:2002.08791"
    order = 43
    keeps_velocity = 0.9
    unused_options: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {**Sampled.unused_options, "step_size": 0.5, "every_curvature": 200}
    )

    def __init__(
        self, n_data: int, *, positions: int = 40, rank: int = 20, path_lr: float = 0.02, **options: Any
    ) -> None:
        if not 2 <= rank <= positions:
            raise SzilardError(
                f"rank must be from 2 to the number of positions, not {rank} of {positions} positions"
            )
        if not path_lr > 0:
            raise SzilardError(f"path_lr must be positive, not {path_lr:g}")
        self.positions, self.rank, self.path_lr = positions, rank, path_lr
        super().__init__(n_data, **options)

    def _phases(self) -> Chains:
        return Chains(self.chains, self.positions, self.descent, self.burn)

    def _vary(self, group: dict[str, Any], done: float) -> None:
        group["step_size"], group["temperature"] = self.path_lr * 0.5**self.diverged, 0.0

    def _scales(self, held: Draws) -> dict[Tensor, Tensor | float]:
        return {}

    def _set_step(self, held: Draws, sampler: DescendAndSample) -> None:
        """The rate is the user's."""

    @torch.no_grad()
    def _keep(self, held: Draws, sampler: DescendAndSample) -> None:
        parameters = [parameter for group in sampler.param_groups for parameter in group["params"]]
        seen = int(sampler.state[parameters[0]].get("seen", torch.tensor(0.0))) + 1
        for parameter in parameters:
            state = sampler.state[parameter]
            mean = state.setdefault("path_mean", torch.zeros_like(parameter))
            square = state.setdefault("path_square", torch.zeros_like(parameter))
            mean.lerp_(parameter, 1 / seen)
            square.lerp_(parameter.square(), 1 / seen)
            state[f"deviation_{seen % self.rank}"] = parameter - mean
            state["seen"] = torch.tensor(float(seen))
        if seen == self.positions:
            for number in range(self.draws):
                self._draw(parameters, sampler, held.done, number)
                held.collect()

    def _draw(self, parameters: list[Tensor], sampler: DescendAndSample, place: int, number: int) -> None:
        """Put a draw of the chain's Gaussian into the parameters."""
        generator = torch.Generator().manual_seed(mix(self.seed, _DRAW, place, number))
        shared = torch.randn(self.rank, generator=generator)
        for parameter in parameters:
            state = sampler.state[parameter]
            variance = (state["path_square"] - state["path_mean"].square()).clamp_min(0.0)
            noise = torch.randn(parameter.shape, generator=generator).to(parameter)
            low = sum(state[f"deviation_{n}"] * float(shared[n]) for n in range(self.rank))
            parameter.copy_(
                state["path_mean"]
                + math.sqrt(0.5) * (variance.sqrt() * noise + low / math.sqrt(self.rank - 1))
            )
