"""What a layer tells of the gradient of its weight at entries that do not exist, and what says where it grows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

# Gradient of some rows of a weight, summed over a batch: (grad [B, rows, ...], x [B, C, ...]) -> [rows, cols].
RowsGradient = Callable[[Tensor, Tensor, slice], Tensor]


class Growth(Protocol):
    """Where one weight would grow: a score for every entry, whether it exists or not.

    A layer hands over what it sees at each backward pass (:meth:`add` or :meth:`add_gradient`); a pattern asks for the
    best entries, or for all scores by blocks of rows. :class:`szilard.topology.GrowthGradient` scores by |gradient|;
    a rule that asks for no gradient ignores what it is given.
    """

    def __len__(self) -> int:
        """How many batches it knows of; a weight with none does not move."""

    def add(self, grad: Tensor, x: Tensor) -> None:
        """Take in one batch: the loss gradient of the layer's output, and its input."""

    def add_gradient(self, gradient: Tensor) -> None:
        """Take in the gradient of the weight, ``[rows, cols]``."""

    def stream(
        self, rows: int, cols: int, device: torch.device, multiple: int = 1
    ) -> Iterator[tuple[slice, Tensor]]:
        """Scores by blocks of rows, ``(rows, [len(rows), cols])``; only their size counts.

        Args:
            rows, cols: of the weight as a matrix.
            device: where the blocks are made.
            multiple: a block has a multiple of so many rows, but for the last.
        """

    def largest(self, count: int, rows: int, cols: int, taken: Tensor) -> Tensor:
        """The ``count`` entries of largest score: flat indices, int64, unordered.

        Args:
            count: how many entries.
            rows, cols: of the weight as a matrix.
            taken: ascending flat indices that may not be chosen, int64.
        """

    def state(self) -> Any:
        """What it holds, for a checkpoint."""

    def resume(self, state: Any) -> None:
        """Go on from what :meth:`state` gave."""


def linear_rows(grad: Tensor, x: Tensor, rows: slice) -> Tensor:
    """Rows of ``gradᵀ x``, for ``grad [B, O]`` and ``x [B, I]``."""
    return grad[:, rows].t() @ x


@dataclass(frozen=True)
class ConvRows:
    """Rows of the weight gradient of a convolution. An object and not a closure, so that a network can be pickled."""

    shape: tuple[int, ...]
    stride: list[int]
    padding: list[int]
    dilation: list[int]
    groups: int

    def __call__(self, grad: Tensor, x: Tensor, rows: slice) -> Tensor:
        zeros = [0] * len(self.stride)
        per_group, channels = self.shape[0] // self.groups, self.shape[1]
        parts = []
        for group in range(rows.start // per_group, (rows.stop - 1) // per_group + 1):
            low, high = max(rows.start, group * per_group), min(rows.stop, (group + 1) * per_group)
            seen = x[:, group * channels : (group + 1) * channels]
            weight = x.new_empty(high - low, *self.shape[1:])
            _, gradient, _ = torch.ops.aten.convolution_backward(
                grad[:, low:high].contiguous(), seen, weight, None, self.stride, self.padding, self.dilation, False,
                zeros, 1, [False, True, False],
            )  # fmt: skip
            parts.append(gradient.flatten(1))
        return torch.cat(parts)


def conv_rows(
    shape: tuple[int, ...], stride: list[int], padding: list[int], dilation: list[int], groups: int
) -> RowsGradient:
    """Rows of the weight gradient of a convolution with a weight of ``shape [O, C/groups, *kernel]``."""
    return ConvRows(shape, stride, padding, dilation, groups)
