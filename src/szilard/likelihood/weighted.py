"""Class weights in the training loss."""

from __future__ import annotations

import torch
from torch import Tensor

from szilard.errors import SzilardError
from szilard.likelihood.bernoulli import Bernoulli
from szilard.likelihood.categorical import Categorical
from szilard.likelihood.likelihood import Likelihood


class Weighted(Categorical):
    """Cross-entropy times the weight of the label's class, at every position; also for class probabilities as labels.

    Its minimum is the prediction for a population in which class c is weights[c] times as frequent.

    Args:
        likelihood: the likelihood without weights.
        weights: ``[C]``, above zero.
    """

    def __init__(self, likelihood: Categorical, weights: Tensor) -> None:
        super().__init__(
            last=likelihood.last, probabilities=likelihood.probabilities, ignore=likelihood.ignore
        )
        self.weights = weights

    def _weights(self, logits: Tensor) -> Tensor:
        return self.weights.to(logits)

    def check_shape(self, output: Tensor, y: Tensor) -> None:
        super().check_shape(output, y)
        _check_count(self.weights, output.shape[-1 if self.last else 1])


class WeightedPair(Bernoulli):
    """Class weights for two classes with one logit, that of the second.

    Args:
        weights: ``[2]``, above zero.
    """

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = weights

    def _terms(self, output: Tensor, y: Tensor) -> Tensor:
        terms = super()._terms(output, y)
        first, second = self.weights.to(terms)
        return terms * torch.where(y.reshape(terms.shape) > 0.5, second, first)

    def check_shape(self, output: Tensor, y: Tensor) -> None:
        super().check_shape(output, y)
        _check_count(self.weights, 2)


def weighted(likelihood: Likelihood, weights: Tensor | None) -> Likelihood:
    """The likelihood with class weights, for classification only.

    Raises:
        SzilardError: another likelihood, or weights that are not a list of numbers above zero.
    """
    if weights is None:
        return likelihood
    _check(weights)
    if not isinstance(likelihood, Categorical):
        raise SzilardError(
            f"class weights are for classification, not for {likelihood.name}; leave class_weights out"
        )
    return Weighted(likelihood, weights)


def weighted_pair(weights: Tensor | None) -> Bernoulli:
    """The likelihood of two classes with one logit, with class weights ``[2]`` or without.

    Raises:
        SzilardError: weights that are not a list of numbers above zero.
    """
    if weights is None:
        return Bernoulli()
    _check(weights)
    return WeightedPair(weights)


def _check(weights: Tensor) -> None:
    if weights.dim() != 1 or not bool((weights > 0).all()) or not bool(torch.isfinite(weights).all()):
        raise SzilardError("class_weights must be one number above zero for each class, [C]; fix them")


def _check_count(weights: Tensor, classes: int) -> None:
    if len(weights) != classes:
        raise SzilardError(
            f"class_weights has {len(weights)} numbers, and the network has {classes} classes; give one for "
            "each class"
        )
