"""Entries of a weight that are trained beside those that its forward pass uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from szilard.bayes.base_layer import BayesLayer
from szilard.bayes.network_weights import every_weight
from szilard.bayes.weight import Weight
from szilard.errors import SzilardError
from szilard.sparse.growth import GradientCarrier, GradientListener
from szilard.sparse.support import Support

_CHILD = "explored"


class Explored(nn.Module):
    """Values of entries outside of a weight's support, with a gradient and no effect on the output.

    They are the set B without A of Top-KAST, while the weight itself holds A. So no code that reads a network can use
    them by mistake. Their gradient is what it would be if they existed with the value 0: the output is linear in them.

    Attributes:
        support: the entries, none of which is in the weight's support.
        values: parameter ``[nnz]``.
    """

    def __init__(self, support: Support, values: Tensor) -> None:
        super().__init__()
        self.support = support
        self.values = nn.Parameter(values)


class ExploredGradient(GradientCarrier):
    """Gives the gradient of explored entries to their parameter, in the backward pass of the layer.

    Args:
        explored: of the weight.
        layer: that computes the gradient at single entries; None if the gradient of the whole weight is added.
    """

    def __init__(self, explored: Explored, layer: BayesLayer | None) -> None:
        self._explored, self._layer = explored, layer

    def through(self, values: Tensor) -> tuple[Tensor, GradientListener]:
        call = _Call(self._explored.support, self._layer)
        return _Carried.apply(values, self._explored.values, call), call


class _Call:
    """The gradient at explored entries of one call of a layer."""

    def __init__(self, support: Support, layer: BayesLayer | None) -> None:
        self._support, self._layer = support, layer
        self._gradient: Tensor | None = None

    @torch.no_grad()
    def add(self, grad: Tensor, x: Tensor) -> None:
        """Add one batch: the loss gradient of the layer's output, and its input."""
        assert self._layer is not None  # only layers give batches
        self._add(self._layer.entries_gradient(grad, x, self._support))

    @torch.no_grad()
    def add_gradient(self, gradient: Tensor) -> None:
        """Add the gradient of the weight, ``[rows, cols]``."""
        self._add(self._support.gather(gradient))

    def _add(self, gradient: Tensor) -> None:
        self._gradient = gradient if self._gradient is None else self._gradient + gradient

    def taken(self, like: Tensor) -> Tensor:
        """The gradient since the last call of this function, in the type of ``like``."""
        found, self._gradient = self._gradient, None
        return torch.zeros_like(like) if found is None else found.to(like.dtype)


class _Carried(torch.autograd.Function):
    """The values of a weight as they are; backward, also the gradient of explored entries that the layer has added."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, explored: Tensor, call: _Call) -> Tensor:
        ctx.call = call
        ctx.save_for_backward(explored)
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        (explored,) = ctx.saved_tensors
        return gradient, ctx.call.taken(explored), None


def explored_of(weight: Weight) -> Explored | None:
    """The explored entries of a weight, if it has any."""
    found = weight._modules.get(_CHILD)
    return found if isinstance(found, Explored) else None


def explore(weight: Weight, flat: Tensor, values: Tensor) -> Explored:
    """Train other entries of a weight beside its own.

    Args:
        weight: whose support contains none of them.
        flat: their ascending indices in the flattened weight, int64.
        values: ``[nnz]``.
    """
    found = Explored(Support.from_flat(weight.support.shape, flat), values)
    weight.add_module(_CHILD, found)
    return found


def forget(weight: Weight) -> None:
    """Remove the explored entries of a weight."""
    weight._modules.pop(_CHILD, None)
    weight.growth = None


def listen(network: nn.Module, wanted: bool) -> None:
    """Let the layers of a network compute the gradients of explored entries in the passes that follow, or not."""
    for _, weight, rows_gradient in every_weight(network):
        found = explored_of(weight)
        if found is not None:
            layer = weight.layer[0] if weight.layer and rows_gradient is not None else None
            weight.growth = ExploredGradient(found, layer) if wanted else None


def match(network: nn.Module, state: Mapping[str, Any]) -> None:
    """Give the weights of a network the explored entries in a state dict, or none if it has none.

    Raises:
        SzilardError: what is stored are no entries of that weight.
    """
    for name, module in network.named_modules():
        if not isinstance(module, Weight):
            continue
        forget(module)
        crow, col, values = (
            state.get(f"{name}.{_CHILD}.{part}") for part in ("support.crow", "support.col", "values")
        )
        if crow is None and col is None and values is None:
            continue
        if not (isinstance(crow, Tensor) and isinstance(col, Tensor) and isinstance(values, Tensor)) or not (
            _are_entries(crow, col, values, module.support.rows)
        ):
            raise SzilardError(
                f"the explored entries of {name} are not stored as a support and its values; name the network that "
                "was trained"
            )
        support = Support(module.support.shape, crow, col)
        module.add_module(_CHILD, Explored(support, torch.zeros_like(values)))


def _are_entries(crow: Tensor, col: Tensor, values: Tensor, rows: int) -> bool:
    whole = not any(part.is_floating_point() or part.is_complex() for part in (crow, col))
    vectors = crow.dim() == col.dim() == values.dim() == 1
    return (
        whole and vectors and values.is_floating_point() and (len(crow), len(col)) == (rows + 1, len(values))
    )
