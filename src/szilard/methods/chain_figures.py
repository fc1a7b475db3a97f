"""Figures on the chains of a posterior of draws: whether they agree, and how many independent draws they are worth."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from szilard.bayes.draws import Draws
from szilard.bayes.noise import mix
from szilard.data import Split
from szilard.methods.sampled import Sampled
from szilard.metrics import Predictive
from szilard.networks.ensemble import ensemble_in
from szilard.sampling.diagnostics import diagnose

PROBES = 256  #: examples whose likelihood is followed
FUNCTIONS = 20  #: outputs that are followed beside it
_CHOICE = 0x7072


@dataclass(frozen=True)
class ChainFigures:
    """Of functions of the draws: the likelihood of a probe, and outputs for some inputs.

    Attributes:
        chains, draws: number of chains, and of draws of each.
        diverged: how often a chain diverged and went back.
        gradients: gradients of a batch that all chains computed.
        rhat: largest R̂; None if there is one chain.
        ess_bulk, ess_tail: smallest effective number of draws for means and quantiles; None as well.
        worst: function of the largest R̂; empty as well.
    """

    chains: int
    draws: int
    diverged: int
    gradients: int
    rhat: float | None
    ess_bulk: float | None
    ess_tail: float | None
    worst: str

    def to_dict(self) -> dict[str, Any]:
        """As it is kept in a file."""
        return asdict(self)


def of_chains(method: Any, network: nn.Module, probe: Split, seed: int) -> ChainFigures | None:
    """Figures of the chains of a trained network; None if the method has no chains.

    Args:
        method: that has trained the network.
        network: with all of its draws.
        probe: examples that were not trained on; the first :data:`PROBES` are used.
        seed: chooses the outputs that are followed.
    """
    held = ensemble_in(network)
    if not isinstance(method, Sampled) or not isinstance(held, Draws):
        return None
    common = (method.chains, method.draws, method.diverged, method.step)
    if method.chains < 2 or method.draws < 4:
        return ChainFigures(*common, None, None, None, "")
    count = min(len(probe), PROBES)
    x, y = probe.x[:count], probe.y[:count]
    predictive = method.predict(network, x, samples=method.count)
    values, names = _functions(predictive, y, seed)
    if not bool((values.std(0) > 0).any()):  # all draws are the same network
        return ChainFigures(*common, None, None, None, "")
    found = diagnose(values.view(method.chains, method.draws, -1))
    worst = names[int(found.rhat.argmax())] if len(found.rhat) == len(names) else ""
    most = float(method.count)  # of few draws the estimate can be larger
    bulk, tail = (min(most, float(one.min())) for one in (found.ess_bulk, found.ess_tail))
    return ChainFigures(*common, found.worst_rhat, bulk, tail, worst)


def _functions(predictive: Predictive, y: Tensor, seed: int) -> tuple[Tensor, list[str]]:
    """Values ``[S, F]`` of the functions that are followed, and their names."""
    samples = predictive.samples.double()
    outputs = samples.flatten(1)
    if predictive.probabilities is not None:
        outputs = torch.logit(outputs, eps=1e-6)  # probabilities near 0 and 1 have long tails
    generator = torch.Generator().manual_seed(mix(seed, _CHOICE))
    chosen = torch.randperm(outputs.shape[1], generator=generator)[:FUNCTIONS].sort().values
    names = [f"output {int(place)} of the probe" for place in chosen]
    return torch.cat([_log_likelihood(predictive, y)[:, None], outputs[:, chosen]], 1), [
        "likelihood of the probe",
        *names,
    ]


def _log_likelihood(predictive: Predictive, y: Tensor) -> Tensor:
    """Mean log likelihood of the targets under each draw, ``[S]``."""
    if predictive.means is not None and predictive.variances is not None:
        means, variances = predictive.means.double(), predictive.variances.double()
        logs = -0.5 * ((y.double() - means).square() / variances + variances.log())
        return logs.flatten(1).mean(1)
    p = predictive.samples.double().clamp_min(1e-12)
    if predictive.multilabel:
        on = y.bool()
        return torch.where(on, p, (1 - predictive.samples.double()).clamp_min(1e-12)).log().flatten(1).mean(1)
    counted = (y >= 0) & (y < p.shape[2])  # an ignored label is outside
    index = torch.where(counted, y, 0).unsqueeze(0).unsqueeze(2).expand(len(p), -1, 1, *y.shape[1:])
    logs = p.gather(2, index).log().squeeze(2)
    return torch.where(counted, logs, 0.0).flatten(1).mean(1)
