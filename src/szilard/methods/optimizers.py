"""The optimisers of the methods: Adam, or SGD with momentum."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from szilard import bayes
from szilard.errors import SzilardError

NAMES = ("adam", "sgd")


def check(name: str, momentum: float) -> None:
    """Check the options of an optimiser.

    Raises:
        SzilardError: an unknown name, or a momentum outside [0, 1).
    """
    if name not in NAMES:
        raise SzilardError(f"unknown optimizer {name!r}: choose one of {', '.join(NAMES)}")
    if not 0 <= momentum < 1:
        raise SzilardError(f"momentum must be in [0, 1), not {momentum:g}")


def adam(network: nn.Module, lr: float, lr_log_std: float) -> torch.optim.Optimizer:
    """Adam, with log σ in a separate group.

    Args:
        lr: learning rate of all other parameters.
        lr_log_std: learning rate of log σ as a multiple of ``lr``.

    Raises:
        SzilardError: every parameter is frozen.
    """
    groups = _groups(network, lr, lr_log_std)
    # One pass over each parameter and its state, instead of a dozen.
    parameters = [parameter for group in groups for parameter in group["params"]]
    fused = all((p.is_cpu or p.is_cuda) and p.is_floating_point() for p in parameters)
    return torch.optim.Adam(groups, fused=fused)


def sgd(network: nn.Module, lr: float, lr_log_std: float, momentum: float) -> torch.optim.Optimizer:
    """SGD with momentum; the rest is as in :func:`adam`."""
    return torch.optim.SGD(_groups(network, lr, lr_log_std), momentum=momentum)


def _groups(network: nn.Module, lr: float, lr_log_std: float) -> list[dict[str, Any]]:
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
    return groups
