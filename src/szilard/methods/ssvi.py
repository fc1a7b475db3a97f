"""Sparse subspace variational inference: a Bayesian network that is sparse from the first step on."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from szilard import bayes
from szilard.methods import checks
from szilard.methods.method import Method
from szilard.methods.stored_supports import match_supports
from szilard.networks.takes import call
from szilard.sparse import check_density, make_pattern
from szilard.sparse.patterns import checked_pattern
from szilard.topology.moves import GrowthFactory, Moves, Optimizers
from szilard.topology.schedule import Schedule


class SSVI(Method):
    """Minimise F over Gaussians on a support of fixed size, and over the support (Li et al. 2024, arXiv:2402.11025).

        min over γ, μ, σ of  E_q[-ln p(D|θ)] + T Σ_{i: γ_i=1} KL(N(μ_i, σ_i²) ‖ prior),   Σ γ = k

    Gradient steps on (μ, ln σ) of the current support alternate with moves of the support: every ``every`` steps a
    fraction of the entries, those of lowest |μ|/σ, is replaced by entries where |∂F/∂μ| is largest.

    Args:
        density: fraction of weights that exist, constant during training.
        score: which entries are removed: those of the lowest ``"snr"`` (|μ|/σ), ``"magnitude"`` (|μ|), or another
            one of :data:`szilard.topology.SCORES`.
        growth_batches: batches over which the growth gradient is averaged.
        growth: ``"noisy"`` uses the growth gradient of the stochastic network, ``"mean"`` that of its mean,
            ``"momentum"`` the momentum of the dense gradient of every step, ``"random"`` none; in Python also a
            function that makes your own :class:`szilard.sparse.growth.Growth`.
        every: optimiser steps between two moves of the support.
        fraction: fraction of the entries that the first move replaces, decayed along a cosine. 0 is a static mask.
        end: fraction of all steps after which the support does not change.
        prior: ``"fan-in"`` (N(0, s²/existing fan-in)), ``"fixed"`` (N(0, s²)) or ``"learned"`` (by empirical Bayes).
        prior_scale: s of the priors ``"fan-in"`` and ``"fixed"``.
        initial_std: σ at the start, as a fraction of the root mean square of the weight's means.
        allocation: ``"uniform"``, ``"erk"`` (small layers denser, same total), ``"flops"`` (as erk, and the density is
            that of multiply-adds), or ``"global"`` (the largest pretrained weights of all layers).
        dense_stem: leave the first layer dense if it is a convolution.
        pattern: in which units weights exist: ``"unstructured"``, blocks such as ``"block32"``, ``"neuron"``, n of m
            columns such as ``"2:4"`` (which sets density and allocation by name), or ``"fan-in"``.
        pretrained: start from the network's own weights: their largest entries are the first support.
    """

    name = "ssvi"
    label = "SSVI"
    summary = "Gaussians on a sparse support that moves"
    source = "Li et al. 2024, arXiv:2402.11025"
    order = 4
    converts = True

    def __init__(
        self,
        n_data: int,
        *,
        density: float = 0.05,
        temperature: float = 0.1,
        prior: str = "fan-in",
        prior_scale: float = 1.0,
        initial_std: float = 0.5,
        allocation: str = "uniform",
        dense_stem: bool = True,
        pattern: str = "unstructured",
        pretrained: bool = False,
        score: str = "snr",
        growth: str | GrowthFactory = "noisy",
        growth_batches: int = 8,
        every: int = 50,
        fraction: float = 0.3,
        end: float = 0.75,
        lr: float = 5e-3,
        lr_log_std: float = 10.0,
        **options: Any,
    ) -> None:
        super().__init__(n_data, temperature=temperature, lr=lr, lr_log_std=lr_log_std, **options)
        check_density(density)
        bayes.make_prior(prior, prior_scale)
        self.density = density
        self.prior, self.prior_scale, self.initial_std = prior, prior_scale, initial_std
        self.allocation, self.dense_stem, self.pretrained = allocation, dense_stem, pretrained
        self.pattern = checked_pattern(pattern, density, allocation).name
        self.growth = growth
        self.moves = Moves(Schedule(every, fraction, end), score, growth_batches, growth, self.seed)

    def _convert(self, network: nn.Module) -> nn.Module:
        return bayes.bayesianize(
            network,
            self.density,
            fresh=not self.pretrained,
            prior=self.prior,
            prior_scale=self.prior_scale,
            initial_std=self.initial_std,
            allocation=self.allocation,
            input_shape=self.input_shape,
            dense_stem=self.dense_stem,
            pattern=self.pattern,
            seed=self.seed,
            **self._which(),
        )

    def _before_forward(self, network: nn.Module) -> None:
        self.moves.listen(network, self.step, self.total_steps or 0)

    def _forward(self, network: nn.Module, x: Tensor) -> Tensor:
        if self.growth == "mean" and self.moves.listening:
            with bayes.mode(network, "mean"):
                return call(network, x)
        return call(network, x)

    def after_step(self, network: nn.Module, optimizer: Optimizers = None) -> None:
        super().after_step(network, optimizer)
        self.moves.apply(network, optimizer, self.step, self.total_steps or 0)

    def match_supports(self, network: nn.Module, state: dict[str, Any]) -> None:
        if self.allocation == "global":  # an outline does not know the weights
            match_supports(network, state, make_pattern(self.pattern))

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "moves": self.moves.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        checks.state(state, {"moves": None}, self.label)
        super().load_state_dict(state)
        self.moves.load_state_dict(state["moves"])
