"""Methods that change the number of entries in training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from szilard.bayes.network_weights import every_weight
from szilard.bayes.weight import Weight
from szilard.methods import checks, shared
from szilard.methods.stored_supports import match_supports
from szilard.methods.training_state import TrainingState


class Resizing(TrainingState):
    """Base class beside :class:`~szilard.methods.method.Method`, of methods that change the number of entries.

    It counts the entries of every step, for the FLOPs of training, and takes supports of any size from a checkpoint.
    Several processes wrap the network again after each change.
    """

    converts = True
    resizes = True
    _entries: Sequence[int] = ()  # of each weight, summed over the steps

    def _before_forward(self, network: nn.Module) -> None:
        super()._before_forward(network)
        shared.check_wrapper(network, self.label)

    def _count_entries(self, network: nn.Module) -> None:
        """To be called after every step, before the number of entries changes."""
        now = [held.weight.support.nnz for held in every_weight(network)]
        self._entries = [a + b for a, b in zip(self._entries or [0] * len(now), now, strict=True)]

    @property
    def mean_entries(self) -> Sequence[float]:
        return [total / max(1, self.step) for total in self._entries]

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "entries": list(self._entries)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        checks.state(state, {"entries": None}, self.label)
        super().load_state_dict(state)
        self._entries = list(state["entries"])

    def match_supports(self, network: nn.Module, state: dict[str, Any]) -> None:
        match_supports(network, state)


def trained(network: nn.Module) -> list[Weight]:
    """The weights on supports that are trained; frozen ones keep their entries."""
    return [held.weight for held in every_weight(network) if held.weight.mean.requires_grad]


def dense_entries(weights: Sequence[Weight]) -> int:
    """Number of entries of weights, if all existed."""
    return sum(weight.support.rows * weight.support.cols for weight in weights)
