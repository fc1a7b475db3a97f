"""The FLOPs that are counted without torch's compiler are those of PyTorch's own counter."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from szilard.cost.flop_mode import flops_of


class Branches(nn.Module):
    """A network with a branch that depends on values: its operator holds functions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cond(x.sum() > 0, self._twice, self.second, (x,))

    def _twice(self, x: Tensor) -> Tensor:
        return self.first(self.first(x))


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), (2, 4)),
        (nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), (2, 4, 9, 9)),
        (nn.ConvTranspose2d(3, 4, 3), (1, 3, 8, 8)),
        (nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), (2, 5, 16)),
        (Branches(), (2, 4)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_as_counted_by_pytorch(network: nn.Module, shape: tuple[int, ...]) -> None:
    x = torch.ones(shape)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(x)
    with torch.no_grad():
        assert flops_of(lambda: network(x)) == counter.get_total_flops() > 0


def test_formula_of_a_product() -> None:
    assert flops_of(lambda: torch.ones(3, 5) @ torch.ones(5, 7)) == 2 * 3 * 5 * 7
