"""Lottery tickets whose weights are Gaussian, and are pruned by what the posterior says about them."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from torch import nn

from szilard import bayes
from szilard.errors import SzilardError
from szilard.methods.tickets import Tickets
from szilard.topology.scores import SCORES


class PosteriorTickets(Tickets):
    """Find a lottery ticket by mean-field posteriors: each phase trains one, and the weights of lowest |μ|/σ go.

    Means and σ of the entries that are left return to those of the rewind step. All else is as in ``tickets``.

    Args:
        score: which entries are removed: those of the lowest ``"snr"`` (|μ|/σ; Blundell et al. 2015, section 5.1),
            ``"magnitude"`` (|μ|), or ``"expected-magnitude"`` (E|w|).
        prior: ``"fan-in"`` (N(0, s²/existing fan-in)), ``"fixed"`` (N(0, s²)) or ``"learned"`` (by empirical Bayes).
        prior_scale: s of the priors ``"fan-in"`` and ``"fixed"``.
        initial_std: σ at the start, as a fraction of the root mean square of the weight's means.
        pretrained: start the means at the network's own weights.
    """

    name = "posterior-tickets"
    label = "posterior ticket"
    summary = "Lottery tickets with Gaussian weights, pruned by |μ|/σ"
    source = (
        "levels: Frankle and Carbin 2019, arXiv:1803.03635; score: Blundell et al. 2015, arXiv:1505.05424"
    )
    order = 33
    unused_options = MappingProxyType({})

    def __init__(
        self,
        n_data: int,
        *,
        score: str = "snr",
        temperature: float = 0.03,
        prior: str = "fan-in",
        prior_scale: float = 1.0,
        initial_std: float = 0.1,
        lr_log_std: float = 10.0,
        pretrained: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(
            n_data,
            score=score,
            temperature=temperature,
            lr_log_std=lr_log_std,
            pretrained=pretrained,
            **options,
        )
        bayes.make_prior(prior, prior_scale)
        self.prior, self.prior_scale, self.initial_std = prior, prior_scale, initial_std

    def _check_score(self, score: str) -> None:
        if score not in SCORES:
            raise SzilardError(f"unknown removal score {score!r}: choose one of {', '.join(SCORES)}")

    def _dense(self, network: nn.Module) -> nn.Module:
        return bayes.bayesianize(
            network,
            fresh=not self.pretrained,
            prior=self.prior,
            prior_scale=self.prior_scale,
            initial_std=self.initial_std,
            seed=self.seed,
            **self._which(),
        )
