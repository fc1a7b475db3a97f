"""The width of a posterior at a mode, one number for each parameter: a diagonal Laplace approximation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from szilard.likelihood import Likelihood

DRAWS = 16  # random gradients of a batch; the estimate of an entry varies by √(2/16) of its size at most


def curvature_diagonal(
    output: Callable[[], Tensor],
    likelihood: Likelihood,
    parameters: Sequence[Tensor],
    generator: torch.Generator,
    draws: int = DRAWS,
) -> list[Tensor]:
    """The diagonal of the generalised Gauss-Newton matrix of the loss of a batch, summed over its examples.

    A random gradient of each example's output whose covariance is the curvature of the loss there is backpropagated;
    its square in a parameter has the curvature of that parameter as its mean (Martens and Grosse 2015). It needs no
    labels, and is right for batches of any size, also where the gradient of the loss is zero.

    Args:
        output: computes the outputs ``[B, ...]`` of one batch.
        likelihood: of the outputs.
        parameters: of the network.
        generator: of the random gradients.
        draws: number of random gradients.
    """
    sums = [torch.zeros_like(parameter) for parameter in parameters]
    with torch.enable_grad():
        found = output()
        for number in range(draws):
            direction = likelihood.direction(found.detach(), 1.0, generator)
            gradients = torch.autograd.grad(
                found, parameters, direction, retain_graph=number + 1 < draws, allow_unused=True
            )
            for total, gradient in zip(sums, gradients, strict=True):
                if gradient is not None:
                    total.addcmul_(gradient, gradient, value=1 / draws)
    return sums


def posterior_scales(
    curvature: Sequence[Tensor], prior_stds: Sequence[Tensor | float], n_data: int, batch: int
) -> list[Tensor]:
    """s = √N σ of each parameter, for the standard deviation σ of the posterior: σ⁻² = N/n · curvature + 1/s₀².

    Args:
        curvature: of the loss summed over a batch (:func:`curvature_diagonal`).
        prior_stds: s₀ of each parameter, a number or a tensor of its shape.
        n_data: N.
        batch: n, examples of the batch.
    """
    return [
        math.sqrt(n_data) * (n_data / batch * one + torch.as_tensor(std).to(one).pow(-2)).rsqrt()
        for one, std in zip(curvature, prior_stds, strict=True)
    ]
