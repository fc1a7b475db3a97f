"""The blocks of networks that exist in several depths."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from szilard.errors import SzilardError
from szilard.networks.mlp import MLP
from szilard.networks.resnet import ResNet


@dataclass(frozen=True)
class Blocks:
    """Names of the parts of a network.

    Attributes:
        family: networks of one family differ in the number of blocks.
        stages: names of the blocks of each stage, in order; the blocks of a stage are alike except for the first one.
        outside: names of all other modules with tensors.
    """

    family: str
    stages: tuple[tuple[str, ...], ...]
    outside: tuple[str, ...]


def blocks_of(network: nn.Module) -> Blocks:
    """The blocks of a residual network or a multilayer perceptron, converted or not.

    Residual networks have three stages. The blocks of a multilayer perceptron are its hidden layers.

    Raises:
        SzilardError: a network of no known family, or without hidden layers.
    """
    if isinstance(network, ResNet):
        stages = tuple(
            tuple(f"layer{number}.{block}" for block in range(len(network.get_submodule(f"layer{number}"))))  # type: ignore[arg-type]
            for number in (1, 2, 3)
        )
        return Blocks("resnet", stages, ("conv1", "bn1", "linear"))
    layers = [name for name, module in network.named_children() if isinstance(module, nn.Linear)]
    if isinstance(network, MLP) and len(layers) > 1:
        return Blocks("mlp", (tuple(layers[:-1]),), (layers[-1],))
    raise SzilardError(
        "only networks of one family in several depths have blocks that can be repeated, and "
        f"{type(network).__name__} is none; name resnetN, or mlp with hidden layers"
    )
