"""Mean-field variational inference: an independent Gaussian for every weight."""

from __future__ import annotations

from typing import Any

from torch import nn

from szilard import bayes
from szilard.methods.method import Method


class MeanField(Method):
    """Minimise F = E_q[-ln p(D|θ)] + T KL(q ‖ prior) over dense diagonal Gaussians (Graves 2011; Blundell et al. 2015).

    Args:
        prior: ``"fan-in"`` (N(0, s²/existing fan-in)), ``"fixed"`` (N(0, s²)) or ``"learned"`` (by empirical Bayes).
        prior_scale: s of the priors ``"fan-in"`` and ``"fixed"``.
        initial_std: σ at the start, as a fraction of the root mean square of the weight's means.
        pretrained: start the means at the network's own weights.
    """

    name = "mean-field"
    label = "dense mean-field"
    summary = "Dense variational inference: a Gaussian for every weight"
    source = "Graves 2011; Blundell et al. 2015, arXiv:1505.05424"
    order = 3
    baseline = True
    converts = True

    def __init__(
        self,
        n_data: int,
        *,
        temperature: float = 0.03,
        prior: str = "fan-in",
        prior_scale: float = 1.0,
        initial_std: float = 0.1,
        pretrained: bool = False,
        lr_log_std: float = 10.0,
        **options: Any,
    ) -> None:
        super().__init__(n_data, temperature=temperature, lr_log_std=lr_log_std, **options)
        self.prior, self.prior_scale, self.initial_std = prior, prior_scale, initial_std
        self.pretrained = pretrained
        bayes.make_prior(prior, prior_scale)

    def _convert(self, network: nn.Module) -> nn.Module:
        return bayes.bayesianize(
            network,
            fresh=not self.pretrained,
            prior=self.prior,
            prior_scale=self.prior_scale,
            initial_std=self.initial_std,
            seed=self.seed,
            **self._which(),
        )
