"""Which channel each index along one axis of a tensor belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from szilard.compression.channels.ties import Ties

ANY = -1  #: of a number that belongs to no channel, such as padding


@dataclass(frozen=True)
class Marks:
    """The channels of a tensor.

    Attributes:
        axis: along which they change.
        channels: their numbers in :class:`Ties`, one for each index along the axis.
    """

    axis: int
    channels: tuple[int, ...]

    def spread(self, shape: Sequence[int]) -> Tensor:
        """The channel of every number, int64 of the tensor's shape."""
        view = [1] * len(shape)
        view[self.axis] = len(self.channels)
        return torch.tensor(self.channels).reshape(view).expand(*shape).contiguous()


def condensed(spread: Tensor, ties: Ties) -> Marks:
    """The marks of a tensor in which every number's channel is known.

    If the channels change along several axes, one is chosen and those along the others are tied, so that the tensor
    without some of them is still a tensor. The chosen axis is the one that ties the least.

    Args:
        spread: int64 of the tensor's shape; :data:`ANY` fits every channel.
        ties: grows by new channels, where all numbers along an axis are :data:`ANY`, and by ties.
    """
    if spread.dim() < 2 or not spread.numel():
        return fixed_marks(tuple(spread.shape), ties, "an operation on all of its channels follows")
    numbers, places = spread.unique(return_inverse=True)
    roots = torch.tensor([one if one == ANY else ties.find(one) for one in numbers.tolist()])[places]
    axes = [axis for axis in range(roots.dim()) if _changes(roots, axis)]
    axis = axes[0] if axes else 1
    if len(axes) > 1:
        # With more axes than an image has, the first one often counts groups, whose number is a constant.
        order = reversed(axes) if roots.dim() > 4 else axes
        axis = max(order, key=lambda a: _sets_along(roots, a))
    channels: list[int] = []
    for row in roots.movedim(axis, 0).flatten(1):
        found = [channel for channel in row.unique().tolist() if channel != ANY]
        for other in found[1:]:
            ties.tie(found[0], other)
        channels.append(found[0] if found else ties.new(1)[0])
    if not axes:
        ties.fix(channels, "it has one channel")  # without it, the tensor would be empty
    return Marks(axis, tuple(channels))


def _sets_along(roots: Tensor, axis: int) -> int:
    """Number of sets of channels if all those at one index along an axis are tied."""
    local = Ties()
    number = dict(zip(roots.unique().tolist(), local.new(roots.unique().numel()), strict=True))
    for row in roots.movedim(axis, 0).flatten(1):
        found = [number[channel] for channel in row.unique().tolist() if channel != ANY]
        for other in found[1:]:
            local.tie(found[0], other)
    return len({local.find(one) for channel, one in number.items() if channel != ANY})


def _changes(roots: Tensor, axis: int) -> bool:
    """Whether the channels change along an axis."""
    low = torch.where(roots == ANY, torch.iinfo(torch.int64).max, roots).amin(axis)
    return bool((roots.amax(axis) > low).any())


def fixed_marks(shape: Sequence[int], ties: Ties, reason: str) -> Marks:
    """Marks of a tensor whose channels all stay."""
    channel = ties.new(1)[0]
    ties.fix([channel], reason)
    axis = 1 if len(shape) > 1 else 0
    return Marks(axis, (channel,) * (shape[axis] if len(shape) else 1))
