"""Checks of training in several processes by methods that replace parameters."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import nn

from szilard.bayes.weight import Weight
from szilard.errors import SzilardError
from szilard.methods.training_state import processes
from szilard.topology.explored import Explored


def check_wrapper(network: nn.Module, label: str) -> None:
    """Raise if the network is in a ``DistributedDataParallel`` that averages gradients of replaced parameters.

    Args:
        network: as the user gives it to the loss.
        label: of the method.

    Raises:
        SzilardError: a parameter was replaced after the network was wrapped.
    """
    if processes() == 1:
        return
    for module in network.modules():
        if isinstance(module, nn.parallel.DistributedDataParallel):
            ours = {id(parameter) for parameter in module.module.parameters() if parameter.requires_grad}
            if ours != {id(parameter) for parameter in module._module_parameters}:
                raise SzilardError(
                    f"{label} has changed the number of entries, and DistributedDataParallel averages the gradients of "
                    "the parameters before; wrap the network again after method.after_step when parameters change"
                )


def check_supports(weights: Sequence[Weight | Explored], label: str) -> None:
    """Raise unless the supports are the same in all processes; to be called by all of them.

    Args:
        weights: those that have changed.
        label: of the method.

    Raises:
        SzilardError: the processes hold different entries.
    """
    if processes() == 1 or not weights:
        return
    found = hashlib.sha256()
    for weight in weights:
        found.update(weight.support.flat().cpu().numpy().tobytes())
    number = int.from_bytes(found.digest()[:7], "big")
    # The largest of (n, -n) over all processes is (n, -n) only if all have n.
    pair = torch.tensor([number, -number], device=weights[0].support.col.device)
    torch.distributed.all_reduce(pair, torch.distributed.ReduceOp.MAX)
    if pair.tolist() != [number, -number]:
        raise SzilardError(
            f"the processes of {label} have chosen different entries, because their weights differ; average the "
            "gradients of all processes before each step (DistributedDataParallel, or szilard fit)"
        )
