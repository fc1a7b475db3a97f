"""Gaussian posteriors to integers, by their own σ: variational Bayesian quantisation (Yang, Bamler and Mandt 2020).

A weight that was fitted as N(μ, σ²) says itself how exactly it must be known. With β nats of the posterior to a nat of
code, a mean becomes the level c that minimises

    (c - μ)² / (2 σ²) + β ln 2 · bits(c)

under the rate of the adaptive coder, on a grid whose step is a multiple of √(12 β) σ̄, σ̄ the geometric mean: where the
posterior knows nothing, the level is whatever is cheapest. That multiple is above 1, because levels that are cheap all
lie towards zero: a coarse grid errs in both directions, cheap levels in one. Code points at dyadic quantiles of a
normal distribution, as in the paper, took 0.5 to 0.7 bits a weight more than this at the same distance.

ln σ is rounded likewise. Where σ minimises the free energy, with precision 1/σ² = data + prior, moving ln σ by δ costs
½ (e^{2δ} - 1) - δ nats, which is δ² for small δ: a curvature of 2, whatever the weight. So a handful of values of σ for
a whole layer are enough.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from szilard.bayes import Weight
from szilard.coding import Encoder
from szilard.compression import sequential_rounding
from szilard.compression.draft import STEPS, Draft, Quantised, Setting
from szilard.compression.no_data import LOSS, without_data

CURVATURE = 2.0  # of ln σ, nats per unit²
SPACING = 2.7  # of a grid, in the steps that fine quantisation would ask for at this price; measured
BETA = 1 / 400  # nats of a posterior for a nat of code at the default λ where N is not known; measured
MANY = 1 << 16  # parameters
WIDEST = 1.0  # step of ln σ, beyond which its cost is a square no longer


class Posterior:
    """Means and log standard deviations of every Bayesian weight to integers; nothing where there are none.

    Args:
        examples: N, over which a nat of the posterior is shared: the mean loss of an example rises by T / N with each.
            None: not known, and at the default λ a nat of code is worth ``BETA`` nats of the posterior; less in
            networks of more than ``MANY`` parameters, in proportion to the root of their number.
        temperature: T, by which the divergence was multiplied in training.
    """

    name = "posterior"
    summary = "Quantises Gaussian posteriors, finer where σ is small"
    source = "Yang, Bamler and Mandt 2020, arXiv:2002.08158"
    order = 8

    def __init__(self, *, examples: int | None = None, temperature: float = 1.0) -> None:
        self.examples, self.temperature = examples, temperature

    def __call__(self, draft: Draft, setting: Setting) -> None:
        nats = self.nats(draft.network)
        for name, weight in posteriors(draft.network).items():
            if not weight.mean.numel() or not _is_finite(weight):
                continue
            draft.set(f"{name}.mean", round_mean(weight, setting.lam, nats))
            if weight.log_std is not None:
                draft.set(f"{name}.log_std", round_log_std(weight, setting.lam, nats))

    def nats(self, network: nn.Module) -> float:
        """Of the posterior, to one nat of mean loss."""
        if self.examples is not None:
            return self.examples / self.temperature
        values = sum(p.numel() for p in network.parameters() if p.is_floating_point())
        default = 2 * math.log(2) * LOSS / values  # λ
        return BETA * math.log(2) / default * math.sqrt(min(1.0, MANY / values))


def round_mean(weight: Weight, lam: float, nats: float) -> Quantised:
    """Levels ``[1, nnz]`` of the means. A weight without σ is rounded as one without data.

    Args:
        lam: λ, nats of mean loss per bit.
        nats: of the posterior, to one nat of mean loss: N / T.
    """
    mean = weight.mean.detach().double().cpu()[None]
    if weight.log_std is None:
        inputs, outputs = without_data(mean)
        return sequential_rounding.quantise(mean, inputs, outputs, lam)
    precision = (-2 * weight.log_std.detach().double().cpu()).exp()[None]
    outputs = torch.full((1,), 1 / nats, dtype=torch.float64)
    step = _step(math.exp(precision.log().mean().item()), lam, nats)
    code = round(STEPS * math.log2(step))
    return sequential_rounding.quantise(mean, precision, outputs, lam, step=code, damping=0.0)


def round_log_std(weight: Weight, lam: float, nats: float) -> Quantised:
    """Levels ``[1, nnz]`` of ln σ, on that grid, of a few, on which cost and rate are least."""
    assert weight.log_std is not None
    values = weight.log_std.detach().double().cpu()
    # Of a layer with one σ for all: its precision is the mean of the precisions.
    centre = -0.5 * float(torch.logsumexp(-2 * values, 0) - math.log(len(values)))
    widest = min(_step(CURVATURE, lam, nats), WIDEST)
    found = []
    for divisor in (1.0, 1.5, 2.0, 3.0):
        level = round(abs(centre) * divisor / widest)
        # One of the grid's levels lies at the centre, or level 0 near enough.
        code = round(STEPS * math.log2(abs(centre) / level if level else widest / divisor))
        quantised = _around(values, code, round(centre / 2.0 ** (code / STEPS)), lam, nats)
        away = torch.from_numpy(quantised.levels[0]) * 2.0 ** (code / STEPS) - values
        cost = float((torch.expm1(2 * away) / 2 - away).sum()) / nats
        bits = Encoder().rate(quantised.levels - int(np.median(quantised.levels)))
        found.append((cost + lam * bits, code, quantised))
    return min(found, key=lambda one: one[:2])[2]


def _step(curvature: float, lam: float, nats: float) -> float:
    """Of a grid for values of this curvature, nats of the posterior per unit²."""
    return SPACING * math.sqrt(12 * lam * nats / (math.log(2) * curvature))


def posteriors(network: nn.Module) -> dict[str, Weight]:
    """The weights on supports by their own name, "1.weight"; a shared one once."""
    return {name: module for name, module in network.named_modules() if isinstance(module, Weight)}


def is_posterior(network: nn.Module) -> bool:
    """Whether any of its weights has a σ."""
    return any(weight.log_std is not None for weight in posteriors(network).values())


def posterior_names(network: nn.Module) -> set[str]:
    """Names of the parameters that this pass quantises."""
    return {f"{name}.{what}" for name in posteriors(network) for what in ("mean", "log_std")}


def _is_finite(weight: Weight) -> bool:
    return bool(weight.mean.isfinite().all() and (weight.log_std is None or weight.log_std.isfinite().all()))


def _around(values: Tensor, code: int, level: int, lam: float, nats: float) -> Quantised:
    """Levels with the cheapest one at ``level``, as the file's offset will make it."""
    flat = (values - level * 2.0 ** (code / STEPS))[None]
    inputs = torch.full_like(flat, CURVATURE)
    outputs = torch.full((1,), 1 / nats, dtype=torch.float64)
    quantised = sequential_rounding.quantise(flat, inputs, outputs, lam, step=code, damping=0.0)
    return Quantised(quantised.levels + np.int32(level), code)
