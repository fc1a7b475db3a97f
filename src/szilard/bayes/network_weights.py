"""All weights of a network, in layers of any kind."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from szilard.bayes.base_layer import BayesLayer
from szilard.bayes.drawn_weights import CHILD, BayesWeights
from szilard.bayes.noise import Noise
from szilard.bayes.weight import Weight
from szilard.sparse.growth import RowsGradient


class NamedWeight(NamedTuple):
    """A weight with its name.

    Attributes:
        name: of the layer, such as ``"4"``; in a module that draws its weights, of the weight: ``"lstm.weight_hh_l0"``.
        rows_gradient: computes its dense gradient from the batches that its layer adds to the growth gradient; None if
            the layer adds the gradient itself.
    """

    name: str
    weight: Weight
    rows_gradient: RowsGradient | None


def every_weight(network: nn.Module) -> list[NamedWeight]:
    """The weights on supports of a network, each once, in registration order."""
    found: list[NamedWeight] = []
    for name, module in network.named_modules():
        if isinstance(module, BayesLayer):
            found.append(NamedWeight(name, module.weight, module.rows_gradient))
        elif isinstance(module, BayesWeights):
            around = name.removesuffix(CHILD)
            found += [NamedWeight(around + leaf, weight, None) for leaf, weight in module.weights.items()]
    return found


def weights(network: nn.Module) -> dict[str, Weight]:
    """The weights on supports of a network by name (see :class:`NamedWeight`)."""
    return {held.name: held.weight for held in every_weight(network)}


def kl(network: nn.Module) -> Tensor:
    """Sum of the divergences of all weights from their priors, in nats, scalar."""
    found = [module.kl() for module in network.modules() if isinstance(module, Weight)]
    return torch.stack(found).sum() if found else torch.zeros(())


def streams(network: nn.Module) -> list[Noise]:
    """The random streams that the layers of a network draw from, each once."""
    found = {
        id(module.noise): module.noise
        for module in network.modules()
        if isinstance(module, BayesLayer | BayesWeights)
    }
    return list(found.values())
