"""Parameter groups for weight decay, which applies to ordinary weights only."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn

from szilard import bayes
from szilard.errors import SzilardWarning


def groups(network: nn.Module, lr: float, lr_log_std: float, weight_decay: float) -> list[dict[str, Any]]:
    """Groups of ordinary parameters, means of Gaussian weights and ln σ, without frozen ones and empty groups.

    Args:
        lr: learning rate of all but ln σ, whose rate is ``lr_log_std`` times it.
        weight_decay: of the ordinary parameters only.
    """
    gaussian = [weight for weight in bayes.weights(network).values() if not weight.is_point]
    means = [weight.mean for weight in gaussian]
    log_stds = [weight.log_std for weight in gaussian if weight.log_std is not None]
    apart = {id(parameter) for parameter in (*means, *log_stds)}
    rest = [parameter for parameter in network.parameters() if id(parameter) not in apart]
    found = []
    for parameters, rate, decay in (
        (rest, lr, weight_decay),
        (means, lr, 0.0),
        (log_stds, lr * lr_log_std, 0.0),
    ):
        free = [parameter for parameter in parameters if parameter.requires_grad]
        if free:
            found.append({"params": free, "lr": rate, "initial_lr": rate, "weight_decay": decay})
    return found


def warn(network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Warn if an optimiser applies weight decay to ln σ."""
    log_std = {id(w.log_std) for w in bayes.weights(network).values() if w.log_std is not None}
    for group in optimizer.param_groups:
        decay = group.get("weight_decay", 0.0)
        if decay and any(id(parameter) in log_std for parameter in group["params"]):
            warnings.warn(
                f"weight_decay={float(decay):g} also acts on ln σ and pulls every σ towards 1; give the optimiser "
                f"method.parameter_groups(network, weight_decay={float(decay):g})",
                SzilardWarning,
                stacklevel=4,
            )
            return
