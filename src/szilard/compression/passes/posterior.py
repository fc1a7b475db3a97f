"""Quantise Gaussian posteriors by their own σ: variational Bayesian quantisation (Yang, Bamler and Mandt 2020).

The posterior N(μ, σ²) of a weight determines the precision that it needs. With β nats of the posterior per nat of code,
a mean becomes the level c that minimises

    (c - μ)² / (2 σ²) + β ln 2 · bits(c)

under the rate of the adaptive coder, on a grid whose step is a multiple of √(12 β) σ̄, σ̄ the geometric mean. If the
posterior is very wide, the cheapest level is chosen. The multiple is above 1, because cheap levels are closer to zero:
a coarse grid causes errors in both directions, cheap levels in one. Code points at dyadic quantiles of a normal
distribution, as in the paper, took 0.5 to 0.7 bits per weight more than this at the same distance.

ln σ is rounded likewise. If σ minimises the free energy, with precision 1/σ² = data + prior, changing ln σ by δ costs
½ (e^{2δ} - 1) - δ nats, which is δ² for small δ: a curvature of 2 for every weight. A few values of σ are therefore
enough for a whole layer.
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
SPACING = 2.7  # of a grid, relative to the step of fine quantisation at this price; measured
BETA = 1 / 400  # nats of a posterior per nat of code at the default λ if N is not known; measured
MANY = 1 << 16  # parameters
WIDEST = 1.0  # largest step of ln σ, above which its cost is not quadratic


class Posterior:
    """Quantise means and log standard deviations of every Bayesian weight; does nothing if there are none.

    Args:
        examples: N, the number of training examples: a nat of the posterior raises the mean loss by T / N. None: not
            known; at the default λ a nat of code then equals ``BETA`` nats of the posterior, and more in networks of
            more than ``MANY`` parameters, in proportion to the square root of their number.
        temperature: T, the factor of the divergence in training.
    """

    name = "posterior"
    summary = "Rounds Gaussian posteriors by their own σ"
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
        """Nats of the posterior per nat of mean loss."""
        if self.examples is not None:
            return self.examples / self.temperature
        values = sum(p.numel() for p in network.parameters() if p.is_floating_point())
        default = 2 * math.log(2) * LOSS / values  # λ
        return BETA * math.log(2) / default * math.sqrt(min(1.0, MANY / values))


def round_mean(weight: Weight, lam: float, nats: float) -> Quantised:
    """Levels ``[1, nnz]`` of the means. A weight without σ is rounded as one without data.

    Args:
        lam: λ, nats of mean loss per bit.
        nats: of the posterior per nat of mean loss: N / T.
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
    """Levels ``[1, nnz]`` of ln σ, on the best of a few grids by cost and rate."""
    assert weight.log_std is not None
    values = weight.log_std.detach().double().cpu()
    # The σ of a layer with one σ for all weights: its precision is the mean of the precisions.
    centre = -0.5 * float(torch.logsumexp(-2 * values, 0) - math.log(len(values)))
    widest = min(_step(CURVATURE, lam, nats), WIDEST)
    found = []
    for divisor in (1.0, 1.5, 2.0, 3.0):
        level = round(abs(centre) * divisor / widest)
        # One of the grid's levels is at the centre, or level 0 is close enough.
        code = round(STEPS * math.log2(abs(centre) / level if level else widest / divisor))
        quantised = _around(values, code, round(centre / 2.0 ** (code / STEPS)), lam, nats)
        away = torch.from_numpy(quantised.levels[0]) * 2.0 ** (code / STEPS) - values
        cost = float((torch.expm1(2 * away) / 2 - away).sum()) / nats
        bits = Encoder().rate(quantised.levels - int(np.median(quantised.levels)))
        found.append((cost + lam * bits, code, quantised))
    return min(found, key=lambda one: one[:2])[2]


def _step(curvature: float, lam: float, nats: float) -> float:
    """Step of a grid for values of this curvature, nats of the posterior per unit²."""
    return SPACING * math.sqrt(12 * lam * nats / (math.log(2) * curvature))


def posteriors(network: nn.Module) -> dict[str, Weight]:
    """The sparse Bayesian weights by their own name, "1.weight"; shared ones once."""
    return {name: module for name, module in network.named_modules() if isinstance(module, Weight)}


def is_posterior(network: nn.Module) -> bool:
    """Whether any weight of the network has a σ."""
    return any(weight.log_std is not None for weight in posteriors(network).values())


def posterior_names(network: nn.Module) -> set[str]:
    """Names of the parameters that this pass quantises."""
    return {f"{name}.{what}" for name in posteriors(network) for what in ("mean", "log_std")}


def _is_finite(weight: Weight) -> bool:
    return bool(weight.mean.isfinite().all() and (weight.log_std is None or weight.log_std.isfinite().all()))


def _around(values: Tensor, code: int, level: int, lam: float, nats: float) -> Quantised:
    """Levels rounded as if ``level`` is the cheapest one, which the file's offset achieves."""
    flat = (values - level * 2.0 ** (code / STEPS))[None]
    inputs = torch.full_like(flat, CURVATURE)
    outputs = torch.full((1,), 1 / nats, dtype=torch.float64)
    quantised = sequential_rounding.quantise(flat, inputs, outputs, lam, step=code, damping=0.0)
    return Quantised(quantised.levels + np.int32(level), code)
