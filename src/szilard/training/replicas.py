"""The network as several processes train it together, also if a method replaces its parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Replicas:
    """A network in the wrapper that averages gradients over all processes.

    The wrapper of several processes knows the parameters that it was made with. A method that changes the number of
    entries replaces parameters, in the same step of every process, and :meth:`follow` then makes a new wrapper.

    Args:
        fabric: launched.
        module: the network.
        optimizer: of its parameters.

    Attributes:
        network: the module in Fabric's wrapper.
        stepper: the optimiser in Fabric's wrapper.
    """

    def __init__(self, fabric: Fabric, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self._fabric, self._optimizer = fabric, optimizer
        self._wrap(module)

    def _wrap(self, module: nn.Module) -> None:
        self.network, self.stepper = self._fabric.setup(module, self._optimizer)
        self._wrapped = list(module.parameters())

    def follow(self) -> bool:
        """Wrap the network again if several processes train it and a parameter was replaced; returns whether it was."""
        module: nn.Module = self.network.module
        if self._fabric.world_size == 1:
            return False
        now = list(module.parameters())
        if len(now) == len(self._wrapped) and all(a is b for a, b in zip(now, self._wrapped, strict=True)):
            return False
        training = module.training
        self._wrap(module)
        self.network.train(training)
        return True
