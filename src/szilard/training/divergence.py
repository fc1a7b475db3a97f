"""Detects training that has diverged or learned nothing."""

from __future__ import annotations

import torch

from szilard.data import DataSet, Split
from szilard.data.check import IGNORED

# Nats. Posteriors of few examples that are still close to their prior are up to 0.6 above the constant prediction.
ABOVE_CONSTANT, ABOVE_UNTRAINED = 1.0, 0.25
STEPS = 50  #: steps below which a network can still fit badly: the margin grows for fewer steps
ENOUGH = 100  #: steps after which a network should have learned something
LEARNT = 0.02  #: nats below the constant prediction, on the training or validation set, that count as learned


def constant_nll(data: DataSet, split: Split) -> float:
    """Mean negative log likelihood of a label, in nats, of the best constant prediction on the training labels.

    That is the frequency of each class (with one added example of each, so that none has probability 0), or a Gaussian
    with the mean and variance of the training targets, in normalised units; the mean over several labels or targets.
    """
    return data.target_type.constant_nll(data.train.y, split.y, data.n_outputs)


def message(
    data: DataSet,
    untrained: float,
    energy: float,
    valid_nll: float,
    label: str,
    steps: int,
    advice: str | None = None,
) -> str | None:
    """One sentence if the training has diverged or the network has learned nothing, else None.

    It has diverged if the trained network's NLL on the validation set is clearly above both that of the best constant
    prediction and that of the untrained network, and the loss of its last epoch is above that of the best constant
    prediction. Too few steps and overfitting do not meet these conditions. The network has learned nothing if after
    :data:`ENOUGH` steps neither of the two losses is below that of the best constant prediction.

    Args:
        data: the data set.
        untrained: NLL of the untrained network on the validation set, in original units.
        energy: mean negative log likelihood of the training examples in the last epoch, in normalised units.
        valid_nll: NLL of the trained network on the validation set, in original units.
        label: name of the method.
        steps: number of optimiser steps.
        advice: what to try first if the network has learned nothing.
    """
    scale = torch.as_tensor(data.target_scale, dtype=torch.float64)
    shift = float(scale.log().mean()) if data.target_type.in_units else 0.0
    constant = constant_nll(data, data.valid) + shift
    margin = ABOVE_CONSTANT * max(1.0, STEPS / max(steps, 1))
    most = max(constant + margin, untrained + ABOVE_UNTRAINED)
    y = data.train.y
    if data.is_dense:  # energy is the sum over an example's pixels
        energy /= float((y != IGNORED).flatten(1).sum(1).double().mean())
    elif y.dim() > 1:  # over its labels or targets
        energy /= y.shape[1]
    above = energy - constant_nll(data, data.train)
    usual = "try another learning rate or more epochs"
    what = data.target_type.constant
    if steps >= ENOUGH and above > -LEARNT and constant - LEARNT < valid_nll <= most:
        return (
            f"{label} is no better than a constant prediction: its NLL on the validation set is {valid_nll:.3g} "
            f"nats, that of {what} alone {constant:.3g}; {advice or usual}"
        )
    if above <= margin or valid_nll <= most:
        return None
    return (
        f"{label} is worse than a constant prediction: its NLL on the validation set is {valid_nll:.3g} nats, "
        f"that of {what} alone {constant:.3g}, so the training has diverged; try a smaller learning rate"
    )
