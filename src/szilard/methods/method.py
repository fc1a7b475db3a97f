"""The face that every training method shows."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from szilard import bayes
from szilard.bayes import evaluating
from szilard.bayes.layers import bayes_layers
from szilard.bayes.noise import mix
from szilard.data import Split
from szilard.data.unseen import StandIns
from szilard.errors import SzilardError
from szilard.free_energy import FreeEnergy, Task, free_energy
from szilard.likelihood import Likelihood, for_training
from szilard.likelihood.weighted import weighted
from szilard.metrics import Predictive, temperature
from szilard.networks import WithNoise

_PREDICTING = 0x7072  # keeps the draws of predictions apart from those of training
_DEFAULT_EPOCHS = 30  # horizon of the schedules where nobody says how many steps there will be


class Method:
    """How a network is trained. Any loop may drive it::

        network = method.prepare(network)
        optimizer = method.optimizer(network)
        for x, y in batches:
            loss = method.loss(network, x, y)
            loss.backward(); optimizer.step(); optimizer.zero_grad()
            method.after_step(network, optimizer)
        method.finish(network, batches, valid)
        predictive = method.predict(network, x)

    Args:
        n_data: N, the number of training examples (the divergence counts once for all of them).
        temperature: T, the weight of the divergence; 1 is Bayes, less is a cold posterior.
        lr: default learning rate of :meth:`optimizer`.
        lr_log_std: learning rate of log σ as a multiple of ``lr``.
        warmup: fraction of all steps over which T rises linearly from 0.
        seed: of the noise.
        total_steps: optimiser steps of the whole run, the horizon of every schedule. May be set until the
            first loss; without it the horizon is 30 epochs of the first batch's size.
    """

    name = "method"
    label = "Method"

    def __init__(
        self,
        n_data: int,
        *,
        temperature: float = 1.0,
        lr: float = 1e-3,
        lr_log_std: float = 1.0,
        warmup: float = 0.0,
        seed: int = 0,
        total_steps: int | None = None,
    ) -> None:
        if n_data < 1:
            raise SzilardError(
                f"n_data is the number of training examples and must be at least 1, not {n_data}"
            )
        if not temperature >= 0:
            raise SzilardError(f"temperature must be zero or positive, not {temperature:g}")
        if not lr > 0:
            raise SzilardError(f"lr must be positive, not {lr:g}")
        if not lr_log_std >= 0:
            raise SzilardError(f"lr_log_std must be zero or positive, not {lr_log_std:g}")
        if not 0 <= warmup <= 1:
            raise SzilardError(f"warmup is a fraction of all steps and must lie in [0, 1], not {warmup:g}")
        if total_steps is not None and total_steps < 1:
            raise SzilardError(f"total_steps must be at least 1, not {total_steps}")
        self.n_data = n_data
        self.temperature = temperature
        self.lr = lr
        self.lr_log_std = lr_log_std
        self.warmup = warmup
        self.seed = seed
        self.total_steps = total_steps
        self.task: Task = "classification"
        self.step = 0
        self.calibration = 1.0  # divides logits in predictions
        self.last = FreeEnergy(torch.zeros(()), torch.zeros(()))
        self.stand_ins: StandIns | None = None  # of categories that training has not seen
        self.class_weights: Tensor | None = None  # [C], by which losses of classes count; 1 on average
        self._losses = 0  # losses asked for since the last step: each has noise of its own

    # -- before training ----------------------------------------------------------------------------

    def prepare(self, network: nn.Module, task: Task = "classification") -> nn.Module:
        """The network this method trains, made from an ordinary one; the original is not changed."""
        self.task = task
        if task == "regression" and not isinstance(network, WithNoise):
            network = WithNoise(network)
        return self._convert(network)

    def _convert(self, network: nn.Module) -> nn.Module:
        raise NotImplementedError

    def optimizer(self, network: nn.Module, lr: float | None = None) -> torch.optim.Optimizer:
        """Adam, with log σ in a group of its own."""
        lr = self.lr if lr is None else lr
        log_std = [w.log_std for w in bayes.weights(network).values() if w.log_std is not None]
        apart = {id(parameter) for parameter in log_std}
        rest = [p for p in network.parameters() if p.requires_grad and id(p) not in apart]
        groups: list[dict[str, Any]] = [{"params": rest, "lr": lr, "initial_lr": lr}]
        if log_std:
            rate = lr * self.lr_log_std
            groups.append({"params": log_std, "lr": rate, "initial_lr": rate})
        # One pass over each parameter and its state, instead of a dozen.
        fused = all(p.is_cpu or p.is_cuda for p in (*rest, *log_std))
        return torch.optim.Adam(groups, fused=fused)

    # -- training -----------------------------------------------------------------------------------

    def loss(self, network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Free energy per example in nats, scalar; its two terms stay in :attr:`last`."""
        if self.total_steps is None:
            self.total_steps = _DEFAULT_EPOCHS * math.ceil(self.n_data / max(1, len(x)))
        self._reset_noise(network)
        self._before_forward(network)
        weight = self.temperature_at(self.step) / self.n_data
        self.last = free_energy(
            self._forward(network, x), y, self._divergence(network), task=self.likelihood, weight=weight
        )
        self._losses += 1
        return self.last.total

    @property
    def likelihood(self) -> Likelihood:
        """What the network's output means."""
        return weighted(for_training(self.task), self.class_weights)

    def _divergence(self, network: nn.Module) -> Tensor:
        return bayes.kl(network)

    def _before_forward(self, network: nn.Module) -> None:
        """Room for what a method must do before the forward pass of a loss."""

    def _forward(self, network: nn.Module, x: Tensor) -> Tensor:
        return network(x)

    def after_step(self, network: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Call after every optimiser step."""
        self.step += 1
        self._losses = 0

    def anneal(self, optimizer: torch.optim.Optimizer) -> None:
        """Set the learning rates for the coming step: a cosine from each group's initial rate to zero."""
        factor = 0.5 * (1 + math.cos(math.pi * min(1.0, self.step / (self.total_steps or 1))))
        for group in optimizer.param_groups:
            group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor

    def temperature_at(self, step: int) -> float:
        """T at a step, risen linearly over the warm-up."""
        rise = self.warmup * (self.total_steps or 0)
        return self.temperature * min(1.0, step / rise) if rise else self.temperature

    @property
    def last_energy(self) -> float:
        """Expected loss of the last batch, nats per example."""
        return self.last.energy.item()

    @property
    def last_cost(self) -> float:
        """T/N times the divergence at the last batch, nats per example."""
        return self.last.cost.item()

    # -- after training -----------------------------------------------------------------------------

    def finish(
        self, network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], valid: Split | None = None
    ) -> None:
        """Once training has ended: BatchNorm statistics of the network that will answer."""
        bayes.reestimate_batchnorm(network, batches)

    @torch.no_grad()
    def predict(
        self, network: nn.Module, x: Tensor, samples: int = 32, seed: int = 0, batch_size: int = 1024
    ) -> Predictive:
        """What ``samples`` coherent draws of the network say of ``x [N, ...]``; a point network answers once.

        Threads may ask one network at once; each gets the bits that it would have had alone.
        """
        device = next(network.parameters()).device
        vary = None if self.stand_ins is None else self.stand_ins.draws(x, samples, seed)
        random = vary is not None or any(not weight.is_point for weight in bayes.weights(network).values())
        outputs = []
        with evaluating(network):
            for sample in range(samples if random else 1):
                x = x if vary is None else vary(sample)
                with bayes.drawn(network, mix(seed, _PREDICTING), sample):
                    parts = [network(part.to(device)).cpu() for part in x.split(batch_size)]
                outputs.append(torch.cat(parts))
        stacked = torch.stack(outputs)
        if not torch.isfinite(stacked).all():
            raise SzilardError(
                "the network answers with NaN or infinite values; check the inputs and the weights"
            )
        if self.task == "regression":
            if stacked.dim() != 3 or stacked.shape[2] != 2:
                raise SzilardError(
                    f"the network answers {list(stacked.shape[1:])} and not [B, 2], a mean and the log of its noise, "
                    "so that it does not say how sure it is; wrap it in szilard.networks.WithNoise, or call it yourself"
                )
            return Predictive.from_gaussian(stacked[..., 0], (2 * stacked[..., 1]).exp())
        return Predictive.from_logits(stacked / self.calibration)

    def calibrate(self, network: nn.Module, valid: Split) -> None:
        """Temperature scaling: one number that divides all logits, fitted on ``valid`` (Guo et al. 2017)."""
        self.calibration = 1.0
        predictive = self.predict(network, valid.x, samples=1)
        if bool((predictive.labels == valid.y).all()):
            return  # without a single mistake the likelihood only says: surer
        self.calibration = temperature(predictive.mean.clamp_min(1e-30).log(), valid.y)

    def fit_to(self, network: nn.Module, state: dict[str, Any]) -> None:
        """Shape a prepared network like a finished one's state dict, where finishing changes shapes."""

    # -- checkpoints --------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers: with the network's and the optimiser's state, all that a resumed run needs."""
        return {
            "step": self.step,
            "total_steps": self.total_steps,
            "calibration": self.calibration,
            "task": self.task,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        self.total_steps = state["total_steps"]
        self.calibration = state["calibration"]
        self.task = state["task"]
        self._losses = 0

    def _reset_noise(self, network: nn.Module) -> None:
        streams = {id(layer.noise): layer.noise for layer in bayes_layers(network).values()}
        for number, noise in enumerate(streams.values()):
            noise.reset(self.seed, self.step, self._losses, _rank(), number)


def _rank() -> int:
    distributed = torch.distributed
    return distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0
