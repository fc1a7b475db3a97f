"""Linearised predictions: the network is a linear function of its weights around their means."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from szilard.bayes.groups import scales
from szilard.bayes.modes import mode
from szilard.bayes.network_weights import every_weight
from szilard.errors import SzilardError
from szilard.networks.takes import call

NUMBERS = 1 << 25  # of the Jacobian at a time: 128 MB in single precision


class Linearised(NamedTuple):
    """Mean ``[B, C]`` and covariance ``[B, C, C]`` of the outputs."""

    mean: Tensor
    covariance: Tensor


@torch.no_grad()
def linearised(network: nn.Module, x: Any, *, numbers: int = NUMBERS) -> Linearised:
    """Mean and covariance of the outputs to first order in the standard deviations of the weights.

    The mean is the output f of the mean weights m, and the covariance is J diag(s²) Jᵀ with J = ∂f/∂w at m and the
    variances s² of the weights. Unlike :func:`szilard.bayes.propagate` it keeps all correlations between units, so it
    is exact for small deviations; it costs a backward pass for each output of each example, and the mean is not
    corrected.

    Args:
        network: from :func:`szilard.bayesianize` or :func:`szilard.bayes.from_moments`, in eval mode; not changed.
            Operations must be those that ``torch.func.vmap`` takes, and examples independent of each other.
        x: a tensor ``[B, ...]``, or a tuple, list or dict of them.
        numbers: of the Jacobian that are in memory at once, about; at least one output of one example and its weights.

    Returns:
        :class:`Linearised`. Outputs of more axes than ``[B, C]`` are flattened to it.

    Raises:
        SzilardError: a network in training mode, or without Gaussian weights.
    """
    if network.training:
        raise SzilardError("the network is in training mode; call network.eval() before it predicts")
    variances = _variances(network)
    if not variances:
        raise SzilardError("the network has no Gaussian weights, so its outputs have no variance")
    means = {name: dict(network.named_parameters())[name].detach() for name in variances}
    size = sum(value.numel() for value in means.values())

    def outputs(values: dict[str, Tensor], example: Any) -> Tensor:
        batch = pytree.tree_map(lambda part: part.unsqueeze(0), example)
        answer = torch.func.functional_call(_Calling(network), _prefixed(values), (batch,))
        return answer.flatten()

    def pulled(example: Any, directions: Tensor) -> dict[str, Tensor]:
        pull = torch.func.vjp(lambda values: outputs(values, example), means)[1]
        return torch.func.vmap(lambda direction: pull(direction)[0])(directions)

    with mode(network, "mean"):
        mean = call(network, x).flatten(1)
        width = mean.shape[1]
        at_once = max(1, min(width, numbers // size))
        examples = max(1, numbers // (size * at_once))
        covariance = mean.new_zeros(len(mean), width, width)
        basis = torch.eye(width, dtype=mean.dtype, device=mean.device)
        jacobian = torch.func.vmap(pulled, in_dims=(0, None))
        for rows in _chunks(len(mean), examples):
            part = pytree.tree_map(lambda value, rows=rows: value[rows], x)
            for first in _chunks(width, at_once):
                left = jacobian(part, basis[first])
                for second in _chunks(width, at_once):
                    if second.start < first.start:
                        continue
                    right = left if second == first else jacobian(part, basis[second])
                    parts = [
                        torch.einsum(
                            "bcw,w,bdw->bcd", left[name].flatten(2), one.flatten(), right[name].flatten(2)
                        )
                        for name, one in variances.items()
                    ]
                    block = torch.stack(parts).sum(0)
                    covariance[rows, first, second] = block
                    covariance[rows, second, first] = block.transpose(1, 2)
    return Linearised(mean, covariance)


class _Calling(nn.Module):
    """Passes a batch to a network as ``takes.call`` does."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.eval()

    def forward(self, x: Any) -> Any:
        return call(self.network, x)


def _prefixed(values: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"network.{name}": value for name, value in values.items()}


def _chunks(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def _variances(network: nn.Module) -> dict[str, Tensor]:
    """The variance of each parameter that is random, by name."""
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    found = {
        names[id(held.weight.mean)]: held.weight.std.square()
        for held in every_weight(network)
        if held.weight.log_std is not None
    }
    for scale in scales(network):
        parameter, variance = scale.first_order()
        found[names[id(parameter)]] = variance
    return found
