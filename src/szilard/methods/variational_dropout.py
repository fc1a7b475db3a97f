"""Sparse variational dropout: weights that are small against their noise are removed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from szilard import bayes
from szilard.data import Split
from szilard.methods.method import Method
from szilard.methods.stored_supports import match_supports


class VariationalDropout(Method):
    """Minimise E_q[-ln p(D|θ)] + T KL(q ‖ p) with the log-uniform prior p(|w|) ∝ 1/|w| (Molchanov et al. 2017).

    The divergence depends on α = σ²/μ² alone and decreases with it, so weights that do not improve the fit drift to
    α → ∞. At the end weights with ln α ≥ ``threshold`` are removed. The prior is improper: its
    divergence is not a code length.

    Args:
        threshold: ln α from which a weight is removed at the end.
        warmup: fraction of the steps over which T rises; without a warm-up nearly all weights are removed.
        initial_std: σ at the start, as a fraction of the root mean square of the weight's means.
        pretrained: start the means at the network's own weights.
    """

    name = "variational-dropout"
    label = "variational dropout"
    summary = "Removes weights that are small against their noise"
    source = "Molchanov et al. 2017, arXiv:1701.05369"
    order = 6
    converts = True

    def __init__(
        self,
        n_data: int,
        *,
        threshold: float = 3.0,
        temperature: float = 1.0,
        warmup: float = 0.3,
        initial_std: float = 0.1,
        pretrained: bool = False,
        lr_log_std: float = 10.0,
        **options: Any,
    ) -> None:
        super().__init__(n_data, temperature=temperature, warmup=warmup, lr_log_std=lr_log_std, **options)
        self.threshold, self.initial_std, self.pretrained = threshold, initial_std, pretrained

    def _convert(self, network: nn.Module) -> nn.Module:
        return bayes.bayesianize(
            network,
            fresh=not self.pretrained,
            prior=bayes.LogUniformPrior(),
            initial_std=self.initial_std,
            seed=self.seed,
            **self._which(),
        )

    def finish(
        self, network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], valid: Split | None = None
    ) -> None:
        with torch.no_grad():
            for weight in bayes.weights(network).values():
                assert weight.log_std is not None
                log_alpha = bayes.log_alpha(weight.mean, weight.log_std)
                kept = log_alpha < self.threshold
                kept[log_alpha.argmin()] = True  # a weight needs at least one entry
                weight.keep(kept)
        super().finish(network, batches, valid)

    def match_supports(self, network: nn.Module, state: dict[str, Any]) -> None:
        match_supports(network, state)
