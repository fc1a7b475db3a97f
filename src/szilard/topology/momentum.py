"""Growth by the momentum of the gradient, at entries that do not exist, too."""

from __future__ import annotations

import torch
from torch import Tensor

from szilard.sparse.growth import RowsGradient
from szilard.topology.gradient import GrowthGradient


class MomentumGrowth(GrowthGradient):
    """Scores are the momentum m ← β m + g of the dense gradient (SNFS; Dettmers, Zettlemoyer 2019, arXiv:1907.04840).

    It needs the dense gradient of every step and holds one dense tensor for each weight: training saves neither
    products nor memory of the gradient.

    Args:
        rows_gradient: of the layer; None if the layer gives gradients.
        decay: β.
    """

    def __init__(self, rows_gradient: RowsGradient | None, decay: float = 0.9) -> None:
        super().__init__(rows_gradient, entries=0)  # the sum is held, never the batches
        self._decay, self._step, self._fresh = decay, -1, True

    def begin(self, step: int) -> None:
        """Start a batch of a step: the momentum decays once, however many batches are accumulated in the step."""
        self._fresh, self._step = self._fresh or step != self._step, step

    def add(self, grad: Tensor, x: Tensor) -> None:
        self._begun()
        super().add(grad, x)

    def add_gradient(self, gradient: Tensor) -> None:
        self._begun()
        super().add_gradient(gradient)

    @torch.no_grad()
    def _begun(self) -> None:
        if self._fresh and self.total is not None:
            self.total *= self._decay
        self._fresh = False
