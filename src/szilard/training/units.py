"""In which units a network of somebody else reads inputs and answers quantities: a file of weights does not say."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from szilard import bayes
from szilard.data import DataSet
from szilard.data.check import IGNORED

CLEARLY = 0.01  # of accuracy or R², by which other units must be better


def fitted(network: nn.Module, data: DataSet, *, told: bool = False) -> tuple[DataSet, str | None]:
    """The data in the units in which the network is best on valid, and a sentence where those are not the usual ones.

    Features and pictures are usually standardised with the statistics of train, and so are the targets of a regression.

    Args:
        network: that fits the data (:func:`szilard.networks.check_fits`); in eval mode.
        told: the user has said how inputs are normalised.
    """
    tried = [(_quality(network, one), one, said) for one, said in _candidates(data, told)]
    usual = tried[0][0]
    best, found, said = max(tried, key=lambda one: one[0])
    if said is None or not best > usual + CLEARLY:
        return data, None
    score = "accuracy" if data.task == "classification" else "R²"
    return (
        found,
        f"{said}, because {score} on valid is {best:.3f} so, and {usual:.3f} if they are standardised",
    )


def _candidates(data: DataSet, told: bool) -> Iterator[tuple[DataSet, str | None]]:
    sets: list[tuple[DataSet, str]] = [(data, "")]
    if not told:
        zero, one = torch.zeros_like(data.shift), torch.ones_like(data.scale)
        plain = "pictures in [0, 1]" if data.is_pictures else "inputs"
        sets.append((data.renormalised(zero, one), f"{plain} are taken as they are in the data"))
    for given, said in sets:
        yield given, said or None
        if data.task == "regression":
            yield (
                given.retargeted(0.0, 1.0),
                f"{said}, and so are targets" if said else "targets are taken as they are in the data",
            )


@torch.no_grad()
def _quality(network: nn.Module, data: DataSet) -> float:
    """Accuracy, or R² of the mean; minus infinity where answers are not finite."""
    device = next(network.parameters()).device
    with bayes.evaluating(network):
        output = torch.cat([network(x.to(device)).cpu() for x in data.valid.x.split(1024)]).double()
    if not bool(torch.isfinite(output).all()):
        return -torch.inf
    y: Tensor = data.valid.y
    if data.task == "classification":
        right = (output.argmax(1) == y)[y != IGNORED]
        return float(right.double().mean())
    return float(1 - (output[:, 0] - y.double()).square().mean() / y.double().var(unbiased=False))
