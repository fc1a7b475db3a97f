"""Your own network: ``szilard fit --network network.py:build`` calls ``build``."""

from torch import Tensor, nn


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x).relu()).relu()


def build(input_shape: tuple[int, ...], n_outputs: int) -> nn.Module:
    """Build the network. Both arguments are optional: Szilard passes only those that the function takes."""
    return nn.Sequential(nn.Linear(input_shape[0], 64), Residual(64), Residual(64), nn.Linear(64, n_outputs))
