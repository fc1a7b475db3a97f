"""How the entries of a support changed, so that values of its entries can follow."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Move(NamedTuple):
    """The effect of a move, for values of the support's entries."""

    source: Tensor  # int64 [nnz]: old position of each entry that exists now, -1 for a new one
    dropped: int

    @property
    def new(self) -> Tensor:
        return self.source < 0

    def carry(self, values: Tensor, fill: float | Tensor = 0.0) -> None:
        """Permute ``values [nnz]`` in place to the new order, with ``fill`` at the new entries."""
        values.copy_(self.carried(values, fill))

    def carried(self, values: Tensor, fill: float | Tensor = 0.0) -> Tensor:
        """``values`` of the old entries in the new order, which can have another length."""
        fill = torch.as_tensor(fill, dtype=values.dtype, device=values.device)
        if not len(values):
            return fill.expand(len(self.source)).clone()
        return torch.where(self.new, fill, values[self.source.clamp(min=0)])

    def survivors(self, values: Tensor) -> Tensor:
        """The values (in the old order) of entries that stayed."""
        return values[self.source[self.source >= 0]]
