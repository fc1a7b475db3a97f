"""Classes that count more or less in training than their examples are many."""

from __future__ import annotations

from torch import Tensor

from szilard.errors import SzilardError
from szilard.likelihood.categorical import Categorical
from szilard.likelihood.likelihood import Likelihood


class Weighted(Categorical):
    """Cross-entropy times a weight of the label's class.

    The predictions that minimise it are those for a population in which class c is weights[c] times as frequent.

    Args:
        weights: ``[C]``, above zero.
    """

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = weights

    def nll(self, output: Tensor, y: Tensor) -> Tensor:
        if y.dim() != 1 or output.dim() != 2 or output.shape[1] != len(self.weights):
            raise SzilardError(
                f"class weights of {len(self.weights)} classes want outputs [B, {len(self.weights)}] and labels [B], "
                f"not {list(output.shape)} and {list(y.shape)}; leave class_weights out"
            )
        return super().nll(output, y) * self.weights.to(output)[y]


def weighted(likelihood: Likelihood, weights: Tensor | None) -> Likelihood:
    """The likelihood with weights of classes, which only classification has."""
    if weights is None:
        return likelihood
    if not isinstance(likelihood, Categorical):
        raise SzilardError(f"class weights are for classification, not for {likelihood.name}; leave them out")
    return Weighted(weights)
