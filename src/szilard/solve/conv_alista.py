"""Convolutional ALISTA: few layers, filters on small windows, and filters that can be learned."""

from __future__ import annotations

from copy import copy
from typing import Any

import torch
from torch import Tensor, nn

from szilard.errors import SzilardError
from szilard.solve.alista import ALISTA
from szilard.solve.convolution import Convolution
from szilard.solve.convolution_weight import ConvolutionWeight
from szilard.solve.filter_bank import FilterBank
from szilard.solve.state import State
from szilard.solve.unrolled import positive


class ConvALISTA(ALISTA):
    """ALISTA on a convolutional dictionary, for images of any size.

    The step starts at the mean d of the filters: one step is then ISTA's, preconditioned by (A Aᵀ)⁻¹. With step 1,
    right for codes of few entries, dictionaries that have many filters diverge before training.

    Args:
        A: a :class:`~szilard.solve.convolution.Convolution`, for images of any size: :meth:`resized` makes others.
        layers: K.
        penalty: the first thresholds are those of ISTA with this λ.
        window: size of the weight's filters in sizes of the dictionary's; it replaces that of A.
        damping: of the closed form.
        learned_filters: the weight's filters, the dictionary's, and those that make the image from the last codes are
            parameters too (convolutional TiLISTA with its dictionary).

    Raises:
        SzilardError: if A is not a convolution, or a number is not positive.
    """

    name = "conv_alista"
    summary = "a step and a threshold for each layer, for a convolutional dictionary"

    operator: Convolution
    weight: ConvolutionWeight

    def __init__(
        self,
        A: Any,
        layers: int = 5,
        penalty: float = 0.1,
        window: float = 1.0,
        damping: float = 1e-2,
        learned_filters: bool = False,
    ) -> None:
        if not isinstance(A, Convolution):
            raise SzilardError(f"A is a {type(A).__name__}; {self.name} needs a szilard.solve.Convolution")
        A = Convolution(A.filters, A.size, A.border, window)
        super().__init__(A, layers, None, positive(penalty, "penalty"), damping)
        self.penalty, self.window, self.learned_filters = float(penalty), window, learned_filters
        mean = float(self.weight.of_filters.mean())
        with torch.no_grad():
            for step, threshold in zip(self.steps, self.thresholds, strict=True):
                step.fill_(mean)
                threshold.fill_(penalty * mean)
        self.synthesis: FilterBank | None = None
        if learned_filters:
            # A copy, so that the given dictionary stays as it is.
            self.operator = self.operator.resized(self.operator.size)
            self.synthesis = self.operator.bank.resized(self.operator.bank.size)
            for bank in (self.operator.bank, self.weight.bank, self.synthesis):
                bank.learn()

    def shared_parameters(self) -> list[nn.Parameter]:
        if self.synthesis is None:
            return []
        return [bank.learn() for bank in (self.operator.bank, self.weight.bank, self.synthesis)]

    def images(self, state: State) -> Tensor:
        """What the codes of an answer stand for, ``[B, N]`` or ``[B, H, W]``; with channels ``[B, C, ...]``."""
        if self.synthesis is None:
            return self.operator.images(state.residual + state.b)
        x = state.x if self.scales is None else state.x * self.scales
        maps = x.reshape(len(x), -1, *self.synthesis.positions)
        return self.operator.images(self.synthesis.combine(maps).flatten(1))

    def resized(self, size: int | tuple[int, ...]) -> ConvALISTA:
        """The same solver for another size. Steps and thresholds are shared, filters are copied."""
        other = copy(self)
        for kept in ("_modules", "_buffers", "_parameters"):
            other.__dict__[kept] = dict(self.__dict__[kept])
        other.operator = self.operator.resized(size)
        other.weight = self.weight.resized(other.operator.bank)
        if self.scales is not None:
            norms = self.scales.reshape(len(self.weight.of_filters), -1)[:, 0]
            other.scales = norms.repeat_interleave(other.operator.shape[1] // len(norms))
        if self.synthesis is not None:
            other.synthesis = self.synthesis.resized(other.operator.bank.size)
        return other
