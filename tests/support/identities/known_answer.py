"""Sparse Bayesian linear regression, which has a known solution."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from identities.check import Check, generator
from szilard import bayes
from szilard.methods import SSVI
from szilard.networks import WithNoise


@dataclass(frozen=True)
class KnownAnswer:
    recall: float
    sigma_error: float
    mean_error: float
    static_recall: float


def known_answer(steps: int = 4000, seed: int = 0) -> KnownAnswer:
    """Bayesian linear regression with 50 of 1000 true weights: recall of the support, and errors of μ and σ.

    The mean-field optimum on a support is known: σ_j = (Σ_n x_nj²/τ² + 1/s²)^(-1/2), μ the ridge solution.
    """
    d, true, n, tau, s = 1000, 50, 2000, 0.5, 1.0
    g = generator(100 + seed)
    w = torch.zeros(d)
    w[torch.randperm(d, generator=g)[:true]] = torch.randn(true, generator=g).sign() * (
        0.3 + torch.rand(true, generator=g)
    )
    x = torch.randn(n, d, generator=g)
    y = x @ w + tau * torch.randn(n, generator=g)

    def run(fraction: float, steps: int) -> bayes.Weight:
        method = SSVI(
            n, density=0.075, temperature=1.0, prior="fixed", prior_scale=s, fraction=fraction, every=50,
            lr=2e-2, lr_log_std=2.0, seed=seed, total_steps=steps,
        )  # fmt: skip
        wrapped = WithNoise(nn.Linear(d, 1, bias=False), log_noise=math.log(tau))
        for parameter in wrapped.parameters():
            parameter.requires_grad_(parameter.dim() == 2)  # the noise is known
        network = method.prepare(wrapped, "regression")
        optimizer = method.optimizer(network)
        draw = generator(seed)
        for _ in range(steps):
            batch = torch.randint(n, (250,), generator=draw)
            method.anneal(optimizer)
            method.loss(network, x[batch], y[batch]).backward()
            optimizer.step()
            optimizer.zero_grad()
            method.after_step(network, optimizer)
        return next(iter(bayes.weights(network).values()))

    def recall(weight: bayes.Weight) -> float:
        return float(torch.isin(w.nonzero().flatten(), weight.support.flat()).double().mean())

    weight = run(0.3, steps)
    seen = x[:, weight.support.flat()].double()
    optimum = (seen.square().sum(0) / tau**2 + 1 / s**2).rsqrt()
    gram = seen.t() @ seen / tau**2 + torch.eye(seen.shape[1]).double() / s**2
    ridge = torch.linalg.solve(gram, seen.t() @ y.double() / tau**2)
    sigma = weight.std.detach().double()
    return KnownAnswer(
        recall=recall(weight),
        sigma_error=float(((sigma - optimum) / optimum).abs().median()),
        mean_error=float((weight.mean.detach().double() - ridge).abs().median()),
        static_recall=recall(run(0.0, 1)),
    )


def known_answer_checks(answer: KnownAnswer) -> list[Check]:
    return [
        Check(
            "known answer: support recall",
            1 - answer.recall,
            0.05,
            f"1 - recall; static mask {answer.static_recall:.2f}",
        ),
        Check("known answer: σ against its optimum", answer.sigma_error, 0.05, "median relative error"),
        Check("known answer: μ against ridge", answer.mean_error, 0.01, "median absolute error"),
    ]
