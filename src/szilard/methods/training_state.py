"""How far a method has trained a network: its step, the schedules over all steps, and what a checkpoint holds."""

from __future__ import annotations

import copy
import math
from typing import Any, Self

import torch
from torch import nn

from szilard import bayes
from szilard.likelihood.free_energy import FreeEnergy
from szilard.likelihood.targets import TaskName
from szilard.methods import checks


class TrainingState:
    """The part of a :class:`~szilard.methods.method.Method` that changes while it trains.

    Attributes:
        temperature, warmup, total_steps: options of the method, which the schedules follow.
        seed: of the noise, with the step.
        step: number of optimiser steps so far.
        calibration: divides logits in predictions.
        task: name of the task.
        last: the two terms of the last loss, nats per example.
    """

    label = "Method"

    def __init__(self, temperature: float, warmup: float, total_steps: int | None, seed: int) -> None:
        self.temperature = temperature
        self.warmup = warmup
        self.total_steps = total_steps
        self.seed = seed
        self.step = 0
        self.calibration = 1.0
        self.task: TaskName = "classification"
        self.last = FreeEnergy(torch.zeros(()), torch.zeros(()))
        self._losses = 0  # training losses since the last step: each has its own noise
        self._trained = False  # since it was made or its state was loaded
        #: Whether :meth:`anneal` has set learning rates.
        self.annealed = False

    def check_run(self, total_steps: int, processes: int, batch_size: int) -> None:
        """Raise if it cannot train for this number of steps or in this number of processes.

        The first loss calls it, and :func:`szilard.fit` before it writes a file.

        Args:
            batch_size: examples in the first batch of one process.
        """

    def anneal(self, optimizer: torch.optim.Optimizer) -> None:
        """Set the learning rates for the next step: a cosine from each group's initial rate to zero."""
        self.annealed = True
        factor = 0.5 * (1 + math.cos(math.pi * min(1.0, self.step / (self.total_steps or 1))))
        for group in optimizer.param_groups:
            group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor

    def temperature_at(self, step: int) -> float:
        """T at a step; it rises linearly over the warm-up."""
        rise = self.warmup * (self.total_steps or 0)
        return self.temperature * min(1.0, step / rise) if rise else self.temperature

    @property
    def last_energy(self) -> float:
        """Expected loss of the last batch, nats per example."""
        return self.last.energy.item()

    @property
    def last_cost(self) -> float:
        """T/N times the divergence of the last batch, nats per example."""
        return self.last.cost.item()

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers: together with the state of network and optimiser, all that a resumed run needs."""
        return {
            "step": self.step,
            "total_steps": self.total_steps,
            "calibration": self.calibration,
            "task": self.task,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a :meth:`state_dict`.

        Raises:
            SzilardError: a state of another method.
        """
        checks.state(state, TrainingState.state_dict(self), self.label)
        self.step = state["step"]
        self.total_steps = state["total_steps"]
        self.calibration = state["calibration"]
        self.task = state["task"]
        self._losses = 0
        self._trained = False

    def invalid_part(self, state: dict[str, Any], network: nn.Module) -> str:
        """Name of an entry of a checkpoint's state that this method cannot have written for a network, or ``""``.

        It is called for a state that has all keys of :meth:`state_dict`, before :meth:`load_state_dict`, and checks the
        entries that only this method has.

        Args:
            state: untrusted.
            network: with the supports of the checkpoint.
        """
        return ""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A copy without the graph of the last batch, which cannot be copied."""
        made = memo[id(self)] = self.__class__.__new__(self.__class__)
        last = self.last
        memo[id(last)] = FreeEnergy(last.energy.detach().clone(), last.cost.detach().clone())
        for name, value in vars(self).items():
            setattr(made, name, copy.deepcopy(value, memo))
        return made

    def _before_forward(self, network: nn.Module) -> None:
        """Hook for subclasses, called before the forward pass of a loss."""

    def _reset_noise(self, network: nn.Module) -> None:
        for number, noise in enumerate(bayes.streams(network)):
            noise.reset(self.seed, self.step, self._losses, _rank(), number)


def processes() -> int:
    """Number of processes that train together."""
    distributed = torch.distributed
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def _rank() -> int:
    distributed = torch.distributed
    return distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0
