"""LSTM, GRU and RNN: all their matrices are drawn, once for a whole sequence; biases stay points.

Every option of torch's own is torch's own here: layers, directions, ``batch_first``, projections, packed sequences. A
draw that holds for the whole sequence is what makes a recurrent network one function of it (Gal and Ghahramani 2016,
Fortunato et al. 2017).
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from szilard.bayes.drawn_weights import Drawn


class DrawnRecurrent(Drawn):
    """An ``nn.RNNBase`` whose matrices are drawn.

    It hands its weights to torch as a list, which torch keeps up to date by itself; here it is made anew in each call.
    """

    @property
    def _flat_weights(self) -> list[Tensor]:
        names: Any = self._flat_weights_names
        return [getattr(self, name) for name in names if hasattr(self, name)]

    @_flat_weights.setter
    def _flat_weights(self, value: list[Tensor]) -> None:
        """Torch sets it where it moves parameters; what it would set is what the property gives."""

    def _init_flat_weights(self) -> None:
        self.__dict__.pop("_flat_weights", None)
        self._flat_weight_refs: list[Any] = []

    def _update_flat_weights(self) -> None:
        """Nothing: the list is never out of date."""

    def flatten_parameters(self) -> None:
        """Nothing: weights that are made for a call cannot lie in one piece beforehand."""


def matrices(module: nn.RNNBase | nn.RNNCellBase) -> list[str]:
    """Names of the matrices, ``weight_ih_l0`` and so on, projections (``weight_hr_l0``) among them."""
    names = module._flat_weights_names if isinstance(module, nn.RNNBase) else ["weight_ih", "weight_hh"]
    return [name for name in names if name.startswith("weight")]


def fresh_std(module: nn.RNNBase | nn.RNNCellBase, density: float) -> float:
    """Of fresh entries: the variance of torch's own, 1 / (3 H) for H units, shared by the entries that exist."""
    return 1 / math.sqrt(3 * module.hidden_size * density)
