"""Early-Bird tickets: channels that the slopes of BatchNorm show to be useless are removed early in training."""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from szilard import bayes
from szilard.bayes.conversion import use_batch_innermost
from szilard.bayes.network_weights import every_weight
from szilard.errors import SzilardError, SzilardWarning
from szilard.methods import checks, inputs, shared, unused
from szilard.methods.deterministic import Deterministic
from szilard.methods.method import Method
from szilard.methods.removed_channels import remove
from szilard.methods.resizing import Resizing
from szilard.methods.stored_supports import match_supports
from szilard.methods.training_state import processes
from szilard.networks.silent_channels import affine_norms
from szilard.sparse import Neuron
from szilard.sparse.one_threshold import largest_of_all
from szilard.topology.moves import Optimizers, several

_WINDOW = 5  # masks that are compared (You et al. 2020, section 4)


class EarlyBird(Resizing, Method):
    """Train until the channels with large BatchNorm slopes stay the same, remove all others, and go on training.

    Every ``every`` steps a mask keeps the channels with the largest |slope| of all BatchNorms. The ticket is drawn when
    the newest mask differs from each of the four before it in at most ``threshold`` of the channels. Then the other
    channels get slope and shift zero, and the rows and columns of weights that only they use are removed, with their
    optimiser state; training continues with all values that are left. An L1 penalty on the slopes acts until then.

    Args:
        prune: fraction of the channels of all BatchNorms that is removed; each keeps at least one.
        threshold: largest Hamming distance between the newest mask and the four before it, as a fraction of channels.
        every: optimiser steps between two masks; by default an epoch, counted in batches of the first batch's size.
        end: fraction of all steps after which the ticket is drawn in any case, with a warning.
        penalty: factor of the sum of |slope| in the loss, nats per example, until the ticket is drawn.
        pretrained: start from the network's own weights instead of fresh ones.
    """

    name = "early-bird"
    label = "Early-Bird ticket"
    summary = "Removes channels as soon as BatchNorm slopes agree on them"
    source = "You et al. 2020, arXiv:1909.11957"
    order = 32
    unused_options = Deterministic.unused_options

    def __init__(
        self,
        n_data: int,
        *,
        prune: float = 0.5,
        threshold: float = 0.1,
        every: int | None = None,
        end: float = 0.5,
        penalty: float = 1e-4,
        pretrained: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(n_data, **options)
        unused.warn("an Early-Bird ticket", options, self.unused_options, "which has no divergence and no σ")
        for name, value in (("prune", prune), ("threshold", threshold), ("end", end)):
            if not 0 < value < 1:
                raise SzilardError(
                    f"{name} of an Early-Bird ticket must be above 0 and below 1, not {value:g}"
                )
        if every is not None and every < 1:
            raise SzilardError(f"every is the number of steps between two masks, from 1, not {every}")
        if not penalty >= 0:
            raise SzilardError(f"penalty must be zero or positive, not {penalty:g}")
        self.prune, self.threshold, self.every, self.end = prune, threshold, every, end
        self.penalty, self.pretrained = penalty, pretrained
        #: Steps between two masks, known after the first batch.
        self.interval = every or 0
        #: Step after which the ticket was drawn; 0 before.
        self.drawn_at = 0
        #: Largest distance of each mask from the four before it.
        self.distances: list[float] = []
        # The last masks, bool [channels]; that of the ticket alone once it is drawn.
        self._masks: list[Tensor] = []
        self._x: Any = None  # the last batch

    def _convert(self, network: nn.Module) -> nn.Module:
        if not affine_norms(network):
            raise SzilardError(
                "an Early-Bird ticket is found by slopes of BatchNorm, and the network has no BatchNorm with slopes "
                "to train; use one that has, such as resnet20, or use --method tickets"
            )
        return bayes.bayesianize(
            network, point=True, fresh=not self.pretrained, seed=self.seed, **self._which()
        )

    def check_run(self, total_steps: int, processes: int, batch_size: int) -> None:
        super().check_run(total_steps, processes, batch_size)
        interval = self.interval or self._epoch(batch_size, processes)
        masks = int(self.end * total_steps) // interval
        if masks < _WINDOW:
            raise SzilardError(
                f"an Early-Bird ticket compares {_WINDOW} masks, one every {interval} steps, and {masks} come in "
                f"the first {self.end:g} of {total_steps} steps; train for more epochs, or set every or end"
            )

    def _epoch(self, batch_size: int, processes: int) -> int:
        return math.ceil(self.n_data / (batch_size * processes))

    def temperature_at(self, step: int) -> float:
        """1: the penalty does not depend on the temperature."""
        return 1.0

    def _divergence(self, network: nn.Module) -> Tensor:
        norms = list(affine_norms(network).values())
        if self.drawn_at or not norms:
            return torch.zeros((), device=next(network.parameters()).device)
        total = torch.stack([norm.weight.abs().sum() for norm in norms]).sum()
        return self.penalty * self.n_data * total

    def loss(self, network: nn.Module, x: Any, y: Tensor) -> Tensor:
        if torch.is_grad_enabled() and network.training:
            self._x = x
            if not self.interval:
                self.interval = self._epoch(max(1, inputs.count(x)), processes())
        return super().loss(network, x, y)

    def after_step(self, network: nn.Module, optimizer: Optimizers = None) -> None:
        self._count_entries(network)
        super().after_step(network, optimizer)
        if not self.drawn_at and self.step % self.interval == 0:
            self._look(network, optimizer)
        if self.drawn_at:
            self._silence(network)

    @torch.no_grad()
    def _look(self, network: nn.Module, optimizer: Optimizers) -> None:
        """Compare the mask of now with those before, and draw the ticket if they agree."""
        slopes = [norm.weight.abs() for norm in affine_norms(network).values()]
        channels = sum(map(len, slopes))
        total = max(len(slopes), channels - round(self.prune * channels))
        mask = torch.cat(largest_of_all(slopes, total))
        farthest = max((float((mask != old).float().mean()) for old in self._masks), default=1.0)
        full = len(self._masks) == _WINDOW - 1
        self._masks = [*self._masks[-_WINDOW + 2 :], mask]
        if not full:
            return
        self.distances.append(farthest)
        last = self.step + self.interval > self.end * (self.total_steps or 0)
        if farthest > self.threshold and not last:
            return
        if farthest > self.threshold:
            warnings.warn(
                f"the Early-Bird ticket is drawn at step {self.step} although its last {_WINDOW} masks differ in up to "
                f"{farthest:.0%} of the channels, more than threshold={self.threshold:g}; train for more epochs, or "
                "lower lr",
                SzilardWarning,
                stacklevel=3,
            )
        self._draw(network, several(optimizer), mask)

    def _draw(self, network: nn.Module, optimizers: list[torch.optim.Optimizer], mask: Tensor) -> None:
        if not optimizers:
            raise SzilardError(
                "an Early-Bird ticket replaces parameters of the optimiser; call method.after_step(network, optimizer) "
                "with it"
            )
        self._masks, self.drawn_at = [mask], self.step
        self._silence(network)
        changed = remove(network, self._x, self._silent(network), optimizers)
        shared.check_supports(changed, self.label)

    def _silent(self, network: nn.Module) -> dict[nn.Module, Tensor]:
        norms: list[_BatchNorm] = list(affine_norms(network).values())
        parts = (~self._masks[0]).split([norm.num_features for norm in norms])
        return {norm: part for norm, part in zip(norms, parts, strict=True) if bool(part.any())}

    @torch.no_grad()
    def _silence(self, network: nn.Module) -> None:
        """Keep slope and shift of removed channels at zero: a shift behind a shortcut has a gradient."""
        for norm, channels in self._silent(network).items():
            for parameter in norm.parameters(recurse=False):
                parameter.masked_fill_(channels, 0.0)

    def match_supports(self, network: nn.Module, state: dict[str, Any]) -> None:
        match_supports(network, state, Neuron())
        if not all(held.weight.support.is_full for held in every_weight(network)):
            use_batch_innermost(network)  # as after the ticket was drawn

    def state_dict(self) -> dict[str, Any]:
        found = {"masks": list(self._masks), "distances": list(self.distances)}
        return {**super().state_dict(), **found, "interval": self.interval, "drawn_at": self.drawn_at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        checks.state(state, {"masks": None, "distances": None, "interval": 0, "drawn_at": 0}, self.label)
        masks, numbers = state["masks"], (state["interval"], state["drawn_at"])
        shapes = {mask.shape for mask in masks if isinstance(mask, Tensor) and mask.dtype is torch.bool}
        if (
            any(type(number) is not int or number < 0 for number in numbers)
            or len(masks) > _WINDOW
            or len(shapes) > 1
            or not all(
                isinstance(mask, Tensor) and mask.dtype is torch.bool and mask.dim() == 1 for mask in masks
            )
            or (state["drawn_at"] and len(masks) != 1)
        ):
            raise SzilardError(
                f"the masks in this state of an {self.label} are damaged; load a state that the same method has saved"
            )
        super().load_state_dict(state)
        self._masks, self.distances = list(masks), list(state["distances"])
        self.interval, self.drawn_at = numbers
