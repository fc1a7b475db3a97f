"""Running statistics that belong to the network that answers, not to the noisy one that was trained."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from szilard.bayes.modes import evaluating, mode


@torch.no_grad()
def reestimate_batchnorm(
    network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], how: str = "mean"
) -> int:
    """Recompute the running mean and variance of every BatchNorm as the plain average over ``batches``.

    It is part of training: no other thread may ask the network meanwhile.

    Args:
        batches: pairs ``(x, y)``; y is not used.
        how: mode in which the network runs meanwhile, see :func:`szilard.bayes.mode`.
    Returns:
        the number of BatchNorm layers (0: nothing was run).
    """
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
    if not norms:
        return 0
    momenta = [norm.momentum for norm in norms]
    try:
        with evaluating(network), mode(network, how):  # dropout and the like stay off
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None  # cumulative average
                norm.train()
            for x, _ in batches:
                network(x)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    return len(norms)
