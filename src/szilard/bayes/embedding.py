"""Embedding and EmbeddingBag with sparse tables; the rows that are looked up come from one draw."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from szilard.bayes.drawn_weights import BayesWeights
from szilard.bayes.noise import Noise
from szilard.bayes.weight import Weight

FRESH_STD = (
    1.0  # of rows as torch initialises them; no sum is formed, so a sparse row needs no larger entries
)


class EmbeddingWeights(BayesWeights):
    """Weights whose row of the padding index stays as it was: it is not trained and must not be noise.

    Attributes:
        padding_row: buffer ``[D]``, or empty if there is no padding index.
    """

    padding_row: Tensor

    def __init__(
        self,
        weights: dict[str, Weight],
        noise: Noise,
        order: tuple[str, ...],
        padding: int | None,
        row: Tensor,
    ) -> None:
        super().__init__(weights, noise, order)
        self.padding = padding
        self.register_buffer("padding_row", row)

    def _finished(self, name: str, dense: Tensor) -> Tensor:
        if self.padding is None or name != "weight":
            return dense
        padded = torch.arange(dense.shape[0], device=dense.device)[:, None] == self.padding
        return torch.where(padded, self.padding_row.to(dense.dtype), dense)


def padding_row(module: nn.Embedding | nn.EmbeddingBag) -> Tensor:
    """The row of the padding index, ``[D]``; empty if there is none."""
    weight = module.weight.detach()
    return weight.new_empty(0) if module.padding_idx is None else weight[module.padding_idx].clone()
