"""How much the predictions change when one unit is removed: a KL in nats, from gradients, without labels.

Removing a unit sets its outputs a to zero. To second order in a that costs

    KL(original ‖ without it) ≈ ½ E[(Σ a · ∂ℓ/∂a)²],

the sum over all places where the unit is made and all positions, of an example, the mean over examples and over ℓ, the
loss at labels drawn from the network's own prediction (Fisher's information in the direction of the removal; as the
criteria of LeCun, Denker and Solla 1990 and of Theis et al. 2018). Instead of labels, random gradients at the outputs
with the same covariance are used (:meth:`szilard.likelihood.Likelihood.direction`): one backward pass serves all units,
every example has its own sum, and quantities and labels are measured as classes are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from szilard.compression.channels.units import ChannelUnits
from szilard.compression.outputs import call
from szilard.compression.policies.divergence import likelihood_of, outputs_of
from szilard.errors import SzilardError
from szilard.likelihood import Likelihood
from szilard.networks.evaluating import evaluating
from szilard.networks.norm import NormReLU

DRAWS = 4  # random gradients of each example
SOFTNESS = 4.0  # as of the curvature of weights; of 1, 2, 4 and 8 one of the best for ResNet-20
BATCH = 64


def rank(
    network: nn.Module,
    units: ChannelUnits,
    inputs: Tensor,
    seed: int = 0,
    *,
    likelihood: Likelihood | None = None,
    softness: float = SOFTNESS,
    draws: int = DRAWS,
) -> dict[str, Tensor]:
    """Importance of each unit of each pool.

    Args:
        network: that the units are of; it runs in eval mode and is not changed.
        units: found in it.
        inputs: ``[N, ...]``, without labels; some hundred are enough.
        seed: of the random gradients.
        likelihood: of the outputs; None: seen from them.
        softness: τ, temperature of the predictions: the result is τ² KL at temperature τ, in nats. Above 1, inputs of
            which the network is certain count as well; at 1 the result is the KL, of few inputs and so less certain.
        draws: of random gradients for each example.

    Returns:
        for each pool, float64 ``[units]`` in the order of its units.

    Raises:
        SzilardError: no inputs, or gradients that are not finite.
    """
    if not len(inputs):
        raise SzilardError("there are no inputs to measure the importance of channels on; give some hundred")
    generator = torch.Generator().manual_seed(seed)
    count = 1 + max((unit for pool in units.pools.values() for unit in pool.units), default=-1)
    total = torch.zeros(count, dtype=torch.float64)
    places = _Places()
    hooks = [
        network.get_submodule(name).register_forward_hook(places.watching(name), with_kwargs=True)
        for name in units.producers
    ]
    try:
        with evaluating(network):
            known = likelihood or likelihood_of(outputs_of(network, inputs))
            for x in inputs.split(BATCH):
                with torch.enable_grad():
                    output = call(network, x.detach().requires_grad_(x.is_floating_point()))
                for draw in range(draws):
                    backward = known.direction(output.detach(), softness, generator)
                    gradients = torch.autograd.grad(
                        output,
                        list(places.outputs.values()),
                        backward,
                        retain_graph=draw + 1 < draws,
                        allow_unused=True,
                    )
                    total += places.squares(gradients, units, count)
    finally:
        for hook in hooks:
            hook.remove()
    found = 0.5 * total / (len(inputs) * draws)
    if not bool(torch.isfinite(found).all()):
        raise SzilardError(
            "the gradients of the network are NaN or infinite for these inputs, so that its channels cannot be ranked; "
            "check inputs and weights"
        )
    return {name: found[list(pool.units)] for name, pool in units.pools.items()}


def by_magnitude(network: nn.Module, units: ChannelUnits) -> dict[str, Tensor]:
    """The published criterion, for comparison: the sum of |w| of the filters that make a unit (Li et al. 2017).

    Returns:
        as :func:`rank`, without a unit of measurement.
    """
    total: dict[int, float] = defaultdict(float)
    for name in units.layers:
        outputs = units.cuts[name].outputs if name in units.cuts else None
        weight = network.get_submodule(name).weight
        assert isinstance(weight, Tensor)
        sizes = weight.detach().double().abs().flatten(1).sum(1)
        for unit, size in zip(outputs or (), sizes.tolist(), strict=False):
            total[unit] += size
    return {
        name: torch.tensor([total[unit] for unit in pool.units], dtype=torch.float64)
        for name, pool in units.pools.items()
    }


class _Places:
    """The outputs of the modules that complete units, and what of them is made there.

    Attributes:
        outputs: that gradients are taken at, by name of the module.
        made: the part of each output that its module adds; a shortcut that it takes was made elsewhere.
    """

    def __init__(self) -> None:
        self.outputs: dict[str, Tensor] = {}
        self.made: dict[str, Tensor] = {}

    def watching(self, name: str) -> Callable[..., Tensor]:
        """A forward hook for a module."""

        def keep(module: nn.Module, given: tuple[Any, ...], named: dict[str, Any], output: Tensor) -> Tensor:
            self.outputs[name], self.made[name] = output, output.detach()
            if isinstance(module, NormReLU):
                shortcut = named.get("shortcut", given[1] if len(given) > 1 else None)
                if shortcut is not None:
                    self.made[name] = (output - shortcut).detach() * (output > 0)
            return output.clone()  # the network may change it in place

        return keep

    def squares(self, gradients: Sequence[Tensor | None], units: ChannelUnits, count: int) -> Tensor:
        """Sums over examples of the squares of each unit's sum, float64 ``[units]``."""
        sums: Tensor | None = None
        for (name, made), gradient in zip(self.made.items(), gradients, strict=True):
            if gradient is None:
                continue
            channels = units.producers[name]
            product = (made * gradient).double()
            axis = 1 if product.shape[1] == len(channels) else product.dim() - 1
            each = product.movedim(axis, 1).reshape(len(product), len(channels), -1).sum(2)
            if sums is None:
                sums = each.new_zeros(len(each), count + 1)  # the last column: of no unit
            sums.index_add_(1, torch.tensor([unit if unit >= 0 else count for unit in channels]), each)
        return torch.zeros(count, dtype=torch.float64) if sums is None else sums[:, :count].square().sum(0)
