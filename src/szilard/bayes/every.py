"""All weights of a network, whichever kind of layer holds them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from szilard.bayes.drawn_weights import CHILD, BayesWeights
from szilard.bayes.layers import BayesLayer
from szilard.bayes.noise import Noise
from szilard.bayes.weight import Weight
from szilard.sparse.growth import RowsGradient


class Held(NamedTuple):
    """A weight and where it is.

    Attributes:
        name: of the layer, as ``"4"``; of a module that draws its weights, their own: ``"lstm.weight_hh_l0"``.
        rows_gradient: how its dense gradient follows from what its layer hands to the growth gradient; None where the
            layer hands over the gradient itself.
    """

    name: str
    weight: Weight
    rows_gradient: RowsGradient | None


def every_weight(network: nn.Module) -> list[Held]:
    """The weights on supports of a network, each once, in registration order."""
    found: list[Held] = []
    for name, module in network.named_modules():
        if isinstance(module, BayesLayer):
            found.append(Held(name, module.weight, module.rows_gradient))
        elif isinstance(module, BayesWeights):
            around = name.removesuffix(CHILD)
            found += [Held(around + leaf, weight, None) for leaf, weight in module.weights.items()]
    return found


def weights(network: nn.Module) -> dict[str, Weight]:
    """The weights on supports of a network by the name of their layer, or their own (:class:`Held`)."""
    return {held.name: held.weight for held in every_weight(network)}


def kl(network: nn.Module) -> Tensor:
    """Divergence of all weights from their priors, nats, scalar."""
    found = [module.kl() for module in network.modules() if isinstance(module, Weight)]
    return torch.stack(found).sum() if found else torch.zeros(())


def streams(network: nn.Module) -> list[Noise]:
    """The streams of random numbers that the layers of a network draw from, each once."""
    found = {
        id(module.noise): module.noise
        for module in network.modules()
        if isinstance(module, BayesLayer | BayesWeights)
    }
    return list(found.values())
