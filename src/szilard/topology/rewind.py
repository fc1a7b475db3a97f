"""Copies of all values of a network, to return to them after entries have been removed."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from szilard.bayes.weight import Weight
from szilard.sparse import Support


def snapshot(network: nn.Module) -> dict[str, Tensor]:
    """Copies of the parameters and buffers in a network's state dict, by name, without the indices of supports.

    The values of a weight on a support have the size of the dense weight, flattened; entries that do not exist are 0.
    """
    return {
        name: value.detach().clone() if support is None else _dense(support, value.detach())
        for name, value, support in _values(network)
    }


def like(network: nn.Module) -> dict[str, Tensor]:
    """Tensors on the meta device with the names, shapes and types that :func:`snapshot` returns."""
    return {
        name: torch.empty(
            value.shape if support is None else (support.rows * support.cols,),
            dtype=value.dtype,
            device="meta",
        )
        for name, value, support in _values(network)
    }


@torch.no_grad()
def rewind(network: nn.Module, kept: dict[str, Tensor]) -> None:
    """Set the parameters and buffers of a network to those of a :func:`snapshot`; supports stay as they are."""
    for name, value, support in _values(network):
        value.copy_(kept[name] if support is None else kept[name][support.flat()])


def _dense(support: Support, value: Tensor) -> Tensor:
    found = support.scatter(value).flatten()
    return (
        found.clone() if support.is_full else found
    )  # scattered into all entries, it is the parameter itself


def _values(network: nn.Module) -> Iterator[tuple[str, Tensor, Support | None]]:
    """Name, value and support (of the values of entries) of each tensor, each once."""
    supports = {
        id(parameter): module.support
        for module in network.modules()
        if isinstance(module, Weight)
        for parameter in module.parameters(recurse=False)
    }
    seen = {
        id(index) for module in network.modules() if isinstance(module, Support) for index in module.buffers()
    }
    for name, value in network.state_dict(keep_vars=True).items():
        if isinstance(value, Tensor) and id(value) not in seen:
            seen.add(id(value))
            yield name, value, supports.get(id(value))
