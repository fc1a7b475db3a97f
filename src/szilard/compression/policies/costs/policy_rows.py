"""The rows of a latency table that a policy, or a whole space of policies, needs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from szilard.compression.policies.costs.rows import Row
from szilard.compression.policies.policy import Policy
from szilard.compression.policies.space import Space

if TYPE_CHECKING:
    from szilard.compression.channels.units import ChannelUnits

_MOST = 512  # combinations of options for one layer; those beyond are measured when a search asks for them


def policy_rows(units: ChannelUnits, policy: Policy, first: str | None = None) -> dict[str, Row]:
    """The row of each layer that has channels, in the order of their calls.

    Args:
        units: the channels of the network.
        policy: says what is kept, and the bits.
        first: name of the layer that reads the network's input.

    Raises:
        SzilardError: a policy for another network.
    """
    sizes = units.sizes(units.kept_of(policy))
    bits = {layer.name: layer.weight_bits for layer in policy.layers}
    return {
        name: Row.of(shape, sizes[name][0], sizes[name][1], bits[name], first=name == first)
        for name, shape in units.layers.items()
        if all(sizes[name])  # a layer without channels is not in the network
    }


def space_rows(space: Space, rows: Callable[[Policy], dict[str, Row]]) -> list[Row]:
    """All rows that the policies of a space can need, each once.

    Args:
        space: of policies.
        rows: of a policy.
    """
    original = list(space.original)
    plain = rows(space.policy(tuple(original)))
    choices: dict[str, list[int]] = {
        name: [] for name in plain
    }  # numbers of the decisions that change a layer
    for number, decision in enumerate(space.decisions):
        changed = [*original]
        changed[number] = len(decision.options) - 1
        fewer = rows(space.policy(tuple(changed)))
        for name, row in plain.items():
            if fewer.get(name) != row:
                choices[name].append(number)
    found = {row.key: row for row in plain.values()}
    for name, numbers in choices.items():
        options = (range(len(space.decisions[number].options)) for number in numbers)
        for chosen in itertools.islice(itertools.product(*options), _MOST):
            choice = [*original]
            for number, option in zip(numbers, chosen, strict=True):
                choice[number] = option
            needed = rows(space.policy(tuple(choice))).get(name)
            if needed is not None:
                found[needed.key] = needed
    return list(found.values())


def first_layer(units: ChannelUnits, network: nn.Module, example: Tensor) -> str | None:
    """The layer that is given the network's own input, if it is one of the first that is called.

    Args:
        units: the channels of the network.
        network: in eval mode.
        example: an input ``[1, *shape]``.
    """
    name = next(iter(units.layers), None)
    if name is None:
        return None
    given: list[bool] = []
    hook = network.get_submodule(name).register_forward_pre_hook(
        lambda _, inputs: given.append(inputs[0].shape == example.shape and torch.equal(inputs[0], example))
    )
    try:
        with torch.no_grad():
            network(example)
    finally:
        hook.remove()
    return name if any(given) else None
