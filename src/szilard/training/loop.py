"""The training loop: epochs of optimiser steps, from the start or from a checkpoint."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from szilard import data as data_sets
from szilard import interrupts
from szilard.bayes.noise import mix
from szilard.data import Split
from szilard.errors import SzilardError
from szilard.methods import Method
from szilard.model.checkpoint import to_device
from szilard.topology.resized import replace_parameters
from szilard.training import devices
from szilard.training.progress import Bar
from szilard.training.replicas import Replicas
from szilard.training.support_history import SupportHistory

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_LAYERS = 0x6C61  # separates the random numbers of dropout from all others
_TOGETHER = 16  # steps after which several processes check the clock together


@dataclass(frozen=True)
class Plan:
    """The settings that do not change during training.

    Attributes:
        epochs: number of epochs; ``batch_size``: examples in a batch of one process.
        seed: seed of the order of examples and of random layers (dropout).
        augment: see :func:`szilard.data.batches`.
        every_steps, every_seconds: interval between checkpoints, in addition to the last; None: no such interval.
    """

    epochs: int
    batch_size: int
    seed: int
    augment: str | None = None
    every_steps: int | None = None
    every_seconds: float | None = 30.0


@dataclass
class Place:
    """Progress of the training: ``batch`` batches of epoch ``epoch`` are done, both counted from 0."""

    epoch: int = 0
    batch: int = 0
    seconds: float = 0.0  # spent on steps
    energy: float = 0.0  # sums over the epoch so far, of this process
    cost: float = 0.0
    saved: float = field(default_factory=time.perf_counter)


class Loop:
    """Trains one network by one method.

    Args:
        fabric: launched.
        method: with the number of steps set in its schedules.
        network: prepared by the method.
        optimizer: created by the method.
        train: the training examples.
        plan: see :class:`Plan`.
        world: number of processes.
        end_of_epoch: called in every process with the epoch's log line so far; completes and saves it.
        save: called in every process with the state of this loop when a checkpoint is due.
        kept: whether ``save`` writes a file.
    """

    def __init__(
        self,
        fabric: Fabric,
        method: Method,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        train: Split,
        plan: Plan,
        *,
        end_of_epoch: Callable[[dict[str, Any]], None],
        save: Callable[[dict[str, Any]], None],
        kept: bool = True,
    ) -> None:
        self.fabric, self.method, self.plan = fabric, method, plan
        self.optimizer = optimizer
        self._replicas = Replicas(fabric, network, optimizer)
        self.train = train.to(fabric.device)
        self.steps = data_sets.n_batches(len(train), plan.batch_size, fabric.world_size)
        self.supports = SupportHistory(self.module, resizes=method.resizes)
        self.place = Place()
        self._end_of_epoch, self._save, self._kept = end_of_epoch, save, kept

    @property
    def network(self) -> nn.Module:
        """The network in Fabric's wrapper."""
        return self._replicas.network

    @property
    def module(self) -> nn.Module:
        """The network without Fabric's wrapper."""
        module: nn.Module = self._replicas.network.module
        return module

    @property
    def total(self) -> int:
        return self.plan.epochs * self.steps

    def run(self, bar: Bar) -> None:
        """Train to the last epoch.

        Raises:
            SzilardError: the free energy or a weight became NaN or infinite.
            Interrupted: a signal was received that the command line handles; a checkpoint of the last step is written.
        """
        place = self.place
        place.saved = time.perf_counter()
        with devices.own_random_numbers(self.fabric.device) as seed_layers, interrupts.later():
            while place.epoch < self.plan.epochs:
                self._epoch(bar, seed_layers)
                place.epoch, place.batch, place.energy, place.cost = place.epoch + 1, 0, 0.0, 0.0
                stop = self._stopped(end=True)
                if place.epoch == self.plan.epochs or stop is not None or self._due(end=True):
                    self._checkpoint()
                if stop is not None:
                    raise interrupts.Interrupted(stop)

    def _epoch(self, bar: Bar, seed_layers: Callable[[int], None]) -> None:
        place, method, rank = self.place, self.method, self.fabric.global_rank
        sums = torch.tensor([place.energy, place.cost], dtype=torch.float64, device=self.fabric.device)
        started = time.perf_counter()
        batches = data_sets.batches(
            self.train,
            self.plan.batch_size,
            seed=self.plan.seed,
            epoch=place.epoch,
            rank=rank,
            world=self.fabric.world_size,
            augment=self.plan.augment,
            start=place.batch,
        )
        self.network.train()
        for x, y in batches:
            seed_layers(mix(_LAYERS, self.plan.seed, method.step, rank))
            self._step(x, y)
            sums += torch.stack([method.last.energy.detach(), method.last.cost.detach()])
            place.batch += 1
            if bar.due():
                bar.step(method.step, method.last_energy, method.last_cost)
            if place.batch == self.steps:
                break
            stop = self._stopped()
            if stop is not None or self._due():
                place.seconds += time.perf_counter() - started
                place.energy, place.cost = sums.tolist()
                self._checkpoint()
                started = time.perf_counter()
            if stop is not None:
                raise interrupts.Interrupted(stop)
        place.energy, place.cost = sums.tolist()  # waits for a GPU, so the clock is read after it
        place.seconds += time.perf_counter() - started
        bar.step(method.step)
        self._close_epoch()

    def _step(self, x: Tensor, y: Tensor) -> None:
        self.method.anneal(self.optimizer)
        loss = self.method.loss(self.network, x, y)
        self.fabric.backward(loss)
        self._replicas.stepper.step()
        self.optimizer.zero_grad()
        self.method.after_step(self.network, self.optimizer)
        if self.method.resizes:
            self._replicas.follow()
        self.supports.observe()

    def _close_epoch(self) -> None:
        place = self.place
        self._check_finite()
        terms = torch.tensor([place.energy, place.cost], dtype=torch.float64) / self.steps
        shares = devices.gather(self.fabric, terms.tolist())
        energy, cost = (sum(column) / len(shares) for column in zip(*shares, strict=True))
        self._end_of_epoch(
            {
                "kind": "epoch",
                "epoch": place.epoch + 1,
                "step": self.method.step,
                "free_energy": energy + cost,
                "energy": energy,
                "cost": cost,
                "seconds": place.seconds,
                **self.supports.epoch(),
            }
        )

    # -- checkpoints --------------------------------------------------------------------------------

    def _due(self, end: bool = False) -> bool:
        every = self.plan.every_steps
        if every is not None and self.method.step % every == 0:
            return True
        if self.plan.every_seconds is None:
            return False
        if self.fabric.world_size > 1 and not end and self.method.step % _TOGETHER:
            return False
        late = time.perf_counter() - self.place.saved > self.plan.every_seconds
        return self.fabric.broadcast(late) if self.fabric.world_size > 1 else late

    def _stopped(self, end: bool = False) -> int | None:
        """The signal that one of the processes has received; all of them return it at the same step."""
        if self.fabric.world_size > 1 and not end and self.method.step % _TOGETHER:
            return None
        asked = devices.gather(self.fabric, interrupts.asked())
        return next((number for number in asked if number is not None), None)

    def _checkpoint(self) -> None:
        self._check_finite()
        mine = {
            "method": self.method.state_dict(),
            "energy": self.place.energy,
            "cost": self.place.cost,
        }
        self._save(
            {
                "step": self.method.step,
                "epoch": self.place.epoch,
                "batch": self.place.batch,
                "seconds": self.place.seconds,
                "threads": torch.get_num_threads(),
                "network": self.module.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "supports": self.supports.state_dict(),
                # The state of each process: its part of the epoch's sums and of the statistics for the next move.
                "processes": devices.gather(self.fabric, to_device(mine, torch.device("cpu"))),
            }
        )
        self.place.saved = time.perf_counter()

    def match(self, network: dict[str, Any]) -> None:
        """Give the supports the sizes of those in a checkpoint, if the method changes them in training."""
        if self.method.resizes:
            before = dict(self.module.named_parameters())
            self.method.match_supports(self.module, network)
            replace_parameters(self.module, before, [self.optimizer])
            self._replicas.follow()

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from the state in a checkpoint."""
        mine = state["processes"][self.fabric.global_rank]
        self.module.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.method.load_state_dict(to_device(mine["method"], self.fabric.device))
        self.supports.load_state_dict(state.get("supports"))
        self.place = Place(state["epoch"], state["batch"], state["seconds"], mine["energy"], mine["cost"])

    def _check_finite(self) -> None:
        """Check, before anything is saved, that the losses and the network hold no NaN or infinite values."""
        broken = not (math.isfinite(self.place.energy) and math.isfinite(self.place.cost))
        if not broken:
            tensors = (*self.module.parameters(), *self.module.buffers())
            finite = [torch.isfinite(t).all() for t in tensors if t.is_floating_point()]
            broken = not torch.stack(finite).all()
        if any(devices.gather(self.fabric, bool(broken))):
            narrow = any(p.dtype is torch.float16 for p in self.module.parameters())
            half = narrow or str(self.fabric.strategy.precision.precision).startswith("16")
            done = min(self.place.epoch + 1, self.plan.epochs)
            raise SzilardError(
                f"the free energy of {self.method.label} became NaN or infinite in epoch {done} of {self.plan.epochs}; "
                + (
                    "float16 overflows above 65504, so first try another precision (bf16-mixed or 32-true)"
                    if half
                    else "try a lower learning rate"
                )
                + ("; the last good checkpoint is kept" if self._kept else "")
            )
