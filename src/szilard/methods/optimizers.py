"""The default optimiser of the methods."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from szilard import bayes
from szilard.errors import SzilardError


def adam(network: nn.Module, lr: float, lr_log_std: float) -> torch.optim.Optimizer:
    """Adam, with log σ in a separate group.

    Args:
        lr: learning rate of all other parameters.
        lr_log_std: learning rate of log σ as a multiple of ``lr``.

    Raises:
        SzilardError: every parameter is frozen.
    """
    log_std = [w.log_std for w in bayes.weights(network).values() if w.log_std is not None]
    apart = {id(parameter) for parameter in log_std}
    rest = [p for p in network.parameters() if p.requires_grad and id(p) not in apart]
    log_std = [parameter for parameter in log_std if parameter.requires_grad]
    if not (rest or log_std):
        raise SzilardError(
            "all parameters of the network are frozen; call requires_grad_(True) on those to train"
        )
    groups: list[dict[str, Any]] = [{"params": rest, "lr": lr, "initial_lr": lr}]
    if log_std:
        rate = lr * lr_log_std
        groups.append({"params": log_std, "lr": rate, "initial_lr": rate})
    # One pass over each parameter and its state, instead of a dozen.
    fused = all((p.is_cpu or p.is_cuda) and p.is_floating_point() for p in (*rest, *log_std))
    return torch.optim.Adam(groups, fused=fused)
