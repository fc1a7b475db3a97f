"""Where two Gaussian tensors are functions of the same variables, entry by entry.

Different activations count as independent. A tensor and itself, a view of it, or an elementwise function of it do not:
``x * x``, ``x * x[:, :1]``, ``x * torch.sigmoid(x)``. So each tensor knows its *origin*: the Gaussians that it is an
elementwise function of. Entries of two views are the same variable where they have the same place in memory.

What mixes entries starts a new origin: layers, pooling, sums, and copies in another order (``gather``, ``flip``,
``repeat``). A gate such as ``x * torch.sigmoid(pool(x))`` therefore counts as independent of what it multiplies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

Function = Callable[[Tensor], Tensor]


class Origin(NamedTuple):
    """The variables of a tensor.

    Attributes:
        mean, variance: of independent Gaussians, of the tensor's shape.
        function: elementwise, from values of the Gaussians to values of the tensor; None: the tensor is the Gaussians.
        free: whether the function holds no other tensor than numbers, so that it fits any view.
        affine: whether the function is, so that the tensor is as Gaussian as the variables.
    """

    mean: Tensor
    variance: Tensor
    function: Function | None = None
    free: bool = True
    affine: bool = True

    def values(self, x: Tensor) -> Tensor:
        return x if self.function is None else self.function(x)

    def then(self, function: Function, *, free: bool = True, affine: bool = False) -> Origin:
        """The origin of an elementwise function of the tensor."""
        before, whole = self.function, function
        if before is not None:

            def whole(x: Tensor) -> Tensor:
                return function(before(x))

        return Origin(self.mean, self.variance, whole, self.free and free, self.affine and affine)


def common(
    firsts: Sequence[Origin], seconds: Sequence[Origin]
) -> tuple[Origin, Origin, bool | Tensor] | None:
    """The first pair of origins of two tensors that share variables, and where; None if no pair does.

    Args:
        firsts, seconds: each tensor as itself, and as a function of what came before.
    """
    for one in firsts:
        for other in seconds:
            where = shared(one, other)
            if where is not False:
                return one, other, where
    return None


def shared(first: Origin, second: Origin) -> bool | Tensor:
    """In which entries of the broadcast shape both are functions of the same variable: all, none, or a mask.

    Only strides and offsets are compared, so that a graph that is traced for any batch size gets a constant mask.
    """
    if first.mean is second.mean and first.variance is second.variance:
        return True
    pairs = (first.mean, second.mean), (first.variance, second.variance)
    if any(_storage(one) != _storage(other) or one.dtype != other.dtype for one, other in pairs):
        return False
    shape = torch.broadcast_shapes(first.mean.shape, second.mean.shape)
    mask: bool | Tensor = True
    for one, other in pairs:
        found = _same_places(one.expand(shape), other.expand(shape))
        if found is False or mask is False:
            return False
        mask = found if mask is True else mask if found is True else mask & found
    return mask


def _storage(values: Tensor) -> Any:
    return values.untyped_storage()._cdata


def _same_places(one: Tensor, other: Tensor) -> bool | Tensor:
    """Where two views of one storage and of one shape have the same place in it; a mask has size 1 in other axes."""
    apart = one.storage_offset() - other.storage_offset()
    distance: Tensor | None = None
    for axis, (step, other_step) in enumerate(zip(one.stride(), other.stride(), strict=True)):
        size = one.shape[axis]
        if step == other_step or size == 1:
            continue
        places = torch.arange(size, device=one.device) * (step - other_step)
        places = places.view(-1, *[1] * (one.dim() - axis - 1))
        distance = places if distance is None else distance + places
    if distance is None:
        return bool(apart == 0)
    return distance + apart == 0
