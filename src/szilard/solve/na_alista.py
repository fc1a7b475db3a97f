"""NA-ALISTA: a small recurrent network chooses each sample's step and threshold (Behrens, Sauder and Jung 2021)."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from szilard.solve.learned import Learned
from szilard.solve.state import State
from szilard.solve.unrolled import SELECTION, Selection, positive

HIDDEN = 128
LEAST_SPREAD = 0.01  # of samples whose measurements are all of one size


class Memory(NamedTuple):
    """What the recurrent network carries."""

    hidden: Tensor  # ``[B, HIDDEN]``
    cell: Tensor


class NAALISTA(Learned):
    """x ← SS_{θ, p_k}(x - γ Wᵀ (A x - b)), with γ and θ of each sample and layer from an LSTM.

    θ is its output times the mean |Wᵀ (A x - b)| of the sample, which falls with the error by orders of magnitude;
    published code has the output itself.

    The LSTM reads the logarithms of ‖A x - b‖₁ and ‖Wᵀ (A x - b)‖₁, standardised by their mean and deviation before
    the first layer. Those are stored when training starts; published code takes them from the first batch that it sees,
    which may be one of a test.

    Args:
        A: matrix ``[m, n]`` or :class:`~szilard.solve.convolution.Convolution`; its columns are scaled to unit norm
            inside.
        layers: K.
        selection: as of :class:`~szilard.solve.learned.Learned`.
        threshold: about θ before training, in units of the mean |Wᵀ (A x - b)|; γ is about 1.
        damping: for matrices of a rank below m (:func:`~szilard.solve.weight.analytic_weight`).
        seed: of the network's weights before training.
    """

    name = "na_alista"
    summary = "an LSTM chooses the step and the threshold of each sample; the analytic weight"
    unit_columns = True
    learning_rate = 0.5
    centre: Tensor
    spread: Tensor

    def __init__(
        self,
        A: Any,
        layers: int = 16,
        selection: Selection | None = SELECTION,
        threshold: float = 2.0,
        damping: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__(A, layers, selection)
        self.threshold, self.damping, self.seed = positive(threshold, "threshold"), damping, int(seed)
        dtype, device = self.operator.dtype, self.operator.device
        self.weight = self.operator.weight(self.name, self.without_matrix, damping)
        self.register_buffer("centre", torch.zeros(2, dtype=dtype, device=device))
        self.register_buffer("spread", torch.ones(2, dtype=dtype, device=device))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.cell = nn.LSTMCell(2, HIDDEN).to(device, dtype)
            self.out = nn.Linear(HIDDEN, 2).to(device, dtype)
        with torch.no_grad():
            self.out.bias.copy_(torch.tensor([math.log(math.expm1(one)) for one in (1.0, self.threshold)]))

    @classmethod
    def count(cls, m: int, n: int, layers: int) -> int:
        return 4 * HIDDEN * (2 + HIDDEN + 2) + 2 * (HIDDEN + 1)

    def layer_parameters(self, layer: int) -> list[nn.Parameter]:
        return []

    def shared_parameters(self) -> list[nn.Parameter]:
        return [*self.cell.parameters(), *self.out.parameters()]

    def start(self, state: State) -> Memory:
        zero = state.x.new_zeros(len(state.x), HIDDEN)
        return Memory(zero, zero)

    def prepare_training(self, b: Tensor) -> None:
        b = b[(b != 0).any(1)]
        if not len(b):
            return
        norms = _norms(b, self.weight.transposed(b))
        self.centre.copy_(norms.mean(0))
        self.spread.copy_(norms.std(0, unbiased=False).clamp_min(LEAST_SPREAD))

    def apply_layer(self, state: State, layer: int) -> State:
        gradient = self.weight.transposed(state.residual)
        norms = (_norms(state.residual, gradient) - self.centre) / self.spread
        hidden, cell = self.cell(norms, tuple(state.memory))
        scale, share = F.softplus(self.out(hidden)).unbind(1)
        threshold = share * gradient.abs().mean(1)
        return self.shrunk(state, state.x, gradient, scale, threshold, Memory(hidden, cell))


def _norms(residual: Tensor, gradient: Tensor) -> Tensor:
    """Logarithms of both ℓ₁ norms ``[B, 2]``, finite for zeros."""
    least = torch.finfo(residual.dtype).tiny
    return torch.stack([residual.abs().sum(1), gradient.abs().sum(1)], 1).clamp_min(least).log()
