"""Whether training has left a network no better than one that never looks at its input."""

from __future__ import annotations

import torch

from szilard.data import DataSet, Split
from szilard.data.check import IGNORED

# Nats. Posteriors of few examples that have hardly left their prior end up to 0.6 above the constant prediction.
ABOVE_CONSTANT, ABOVE_UNTRAINED = 1.0, 0.25
STEPS = 50  #: of fewer, a network may still be far from its data: the margin grows as the steps get fewer
ENOUGH = 100  #: steps after which a network should have learnt something
LEARNT = 0.02  #: nats below the constant prediction, on training examples or on valid, that show that something was


def constant_nll(data: DataSet, split: Split) -> float:
    """Mean negative log likelihood of a label, in nats, of the best constant prediction on the training labels.

    That is the frequency of each class (with one example more of each, so that none is impossible), or a Gaussian with
    the mean and variance of the training targets, in normalised units; the mean over several labels or targets.
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
    """One sentence if the training has diverged or taught nothing, else None.

    It has diverged if the finished network's NLL on valid lies clearly above both that of the best constant prediction
    and that of the untrained network, and the loss of its last epoch above that of the best constant prediction. So
    neither a training of too few steps nor overfitting is taken for it. It has taught nothing if after
    :data:`ENOUGH` steps neither of the two losses is below that of the best constant prediction.

    Args:
        untrained: NLL of the untrained network on valid, in original units.
        energy: mean negative log likelihood of the training examples in the last epoch, in normalised units.
        valid_nll: of the finished network, in original units.
        label: of the method.
        steps: of the optimiser, all together.
        advice: what may help first a network that has learnt nothing.
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
            f"{label} is no better than a guess that never looks at the input: its NLL on valid is {valid_nll:.3g} "
            f"nats, that of {what} alone {constant:.3g}; {advice or usual}"
        )
    if above <= margin or valid_nll <= most:
        return None
    return (
        f"{label} ended worse than a guess that never looks at the input: its NLL on valid is {valid_nll:.3g} nats, "
        f"that of {what} alone {constant:.3g}, so the training has diverged; try a smaller learning rate"
    )
