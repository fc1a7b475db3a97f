"""LSTM, GRU and RNN: all matrices are drawn, once for a whole sequence; biases stay points.

All options of torch work: layers, directions, ``batch_first``, projections, packed sequences. With one draw for the
whole sequence, a recurrent network is one function of it (Gal and Ghahramani 2016, Fortunato et al. 2017).
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from szilard.bayes.drawn_weights import Drawn


class DrawnRecurrent(Drawn):
    """An ``nn.RNNBase`` whose matrices are drawn.

    Torch passes the weights as a list that it keeps up to date; here the list is made in each call.
    """

    @property
    def _flat_weights(self) -> list[Tensor]:
        names: Any = self._flat_weights_names
        return [getattr(self, name) for name in names if hasattr(self, name)]

    @_flat_weights.setter
    def _flat_weights(self, value: list[Tensor]) -> None:
        """Ignored: torch sets the list when it moves parameters, and the property computes it."""

    def _init_flat_weights(self) -> None:
        self.__dict__.pop("_flat_weights", None)
        self._flat_weight_refs: list[Any] = []

    def _update_flat_weights(self) -> None:
        """Does nothing: the list is never out of date."""

    def flatten_parameters(self) -> None:
        """Does nothing: weights that are made for a call cannot be contiguous in advance."""


def matrices(module: nn.RNNBase | nn.RNNCellBase) -> list[str]:
    """Names of the matrices, ``weight_ih_l0`` and so on, including projections (``weight_hr_l0``)."""
    names = module._flat_weights_names if isinstance(module, nn.RNNBase) else ["weight_ih", "weight_hh"]
    return [name for name in names if name.startswith("weight")]


def fresh_std(module: nn.RNNBase | nn.RNNCellBase, density: float) -> float:
    """Standard deviation of fresh entries: the variance of torch, 1 / (3 H) for H units, divided by the density."""
    return 1 / math.sqrt(3 * module.hidden_size * density)
