"""The gradient of a weight at entries that do not exist, and the protocol of growth scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

# Gradient of some rows of a weight, summed over a batch: (grad [B, rows, ...], x [B, C, ...]) -> [rows, cols].
RowsGradient = Callable[[Tensor, Tensor, slice], Tensor]


class GradientListener(Protocol):
    """What a layer adds the gradients of a weight to, at each backward pass."""

    def add(self, grad: Tensor, x: Tensor) -> None:
        """Add one batch: the loss gradient of the layer's output, and its input."""

    def add_gradient(self, gradient: Tensor) -> None:
        """Add the gradient of the weight, ``[rows, cols]``."""


class GradientCarrier(ABC):
    """Gives gradients of a weight to a parameter of its own, through autograd as that of every parameter.

    So gradient accumulation, loss scales and the average over processes treat that parameter like all others.
    """

    @abstractmethod
    def through(self, values: Tensor) -> tuple[Tensor, GradientListener]:
        """The same values as the product of one call reads them, and what to add that call's gradients to.

        The gradient of the values that are returned must come after what is added, as it does in the backward pass of a
        product whose output has a hook.
        """


class Growth(GradientListener, Protocol):
    """Where one weight grows: a score for every entry, whether it exists or not.

    A layer adds its gradients at each backward pass (:meth:`add` or :meth:`add_gradient`). A pattern reads the best
    entries, or all scores by blocks of rows. :class:`szilard.topology.GrowthGradient` scores by |gradient|; a rule that
    needs no gradient ignores what is added.
    """

    def __len__(self) -> int:
        """Number of batches added; a weight with none does not move."""

    def stream(
        self, rows: int, cols: int, device: torch.device, multiple: int = 1
    ) -> Iterator[tuple[slice, Tensor]]:
        """Scores by blocks of rows, ``(rows, [len(rows), cols])``; only their magnitude counts.

        Args:
            rows, cols: of the weight as a matrix.
            device: where the blocks are made.
            multiple: the number of rows of a block is a multiple of this, except in the last block.
        """

    def largest(self, count: int, rows: int, cols: int, taken: Tensor) -> Tensor:
        """The ``count`` entries of largest score: flat indices, int64, unordered.

        Args:
            count: how many entries.
            rows, cols: of the weight as a matrix.
            taken: ascending flat indices that cannot be chosen, int64.
        """

    def state(self) -> Any:
        """The state, for a checkpoint."""

    def resume(self, state: Any) -> None:
        """Continue from a :meth:`state`."""


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
