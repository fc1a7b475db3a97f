"""A compression policy: how many channels each layer keeps, and the bits of its weights and inputs."""

from __future__ import annotations

from dataclasses import dataclass

FLOAT = 32  #: bits of a weight or an activation that is not quantised


@dataclass(frozen=True)
class LayerPolicy:
    """What a policy says of one layer.

    Attributes:
        name: of the layer in the network, such as "layer1.0.conv1".
        channels: number of output channels (of a linear layer: outputs) that it keeps. 0: its branch of a residual sum
            goes.
        weight_bits: of its weights; 32 is float32.
        activation_bits: of its inputs; 32 is float32.
    """

    name: str
    channels: int
    weight_bits: int = FLOAT
    activation_bits: int = FLOAT


@dataclass(frozen=True)
class Policy:
    """What is kept of every convolution and linear layer, in the order in which they are called."""

    layers: tuple[LayerPolicy, ...]

    def __getitem__(self, name: str) -> LayerPolicy:
        """The entry of a layer.

        Raises:
            KeyError: the policy has no layer of this name.
        """
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(name)
