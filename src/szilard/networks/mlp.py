"""The multilayer perceptron."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from szilard.errors import SzilardError


class MLP(nn.Sequential):
    """Flattens the inputs, then applies linear layers with ReLU between them.

    Args:
        input_shape: shape of one example.
        n_outputs: width of the last layer.
        hidden: widths of the hidden layers; () makes a linear model.

    Shapes: ``[B, *input_shape] -> [B, n_outputs]``.
    """

    def __init__(
        self, input_shape: Sequence[int], n_outputs: int, hidden: Sequence[int] = (512, 512)
    ) -> None:
        widths = [math.prod(input_shape), *hidden, n_outputs]
        if min(widths) < 1:
            raise SzilardError(f"every layer of an mlp needs at least one unit, but the widths are {widths}")
        layers: list[nn.Module] = [nn.Flatten()]
        for i, (n_in, n_out) in enumerate(pairwise(widths)):
            layers += [nn.ReLU()] if i else []
            layers.append(nn.Linear(n_in, n_out))
        super().__init__(*layers)
