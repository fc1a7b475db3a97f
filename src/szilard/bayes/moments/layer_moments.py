"""Mean and variance of the output of every layer, from draws and from one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from szilard.bayes.base_layer import BayesLayer
from szilard.bayes.drawn_weights import BayesWeights, Drawn
from szilard.bayes.groups import GroupScale, ScaledLayer
from szilard.bayes.modes import drawn, mode
from szilard.bayes.moments.value import GaussianTensor, Moments
from szilard.bayes.weight import Weight
from szilard.errors import SzilardError
from szilard.networks import wrong_shape
from szilard.networks.takes import call

_WHOLE = BayesLayer | Drawn | ScaledLayer  # modules whose children are parts of one layer
_PARTS = Weight | BayesWeights | GroupScale


class Place(NamedTuple):
    """One output: the name of the module and the number of its call in a forward pass, from 0."""

    name: str
    call: int


class Running:
    """Mean and variance of draws that come one by one (Welford 1962), in the type of the draws."""

    def __init__(self, first: Tensor) -> None:
        self.count, self.mean, self.squares = 0, torch.zeros_like(first), torch.zeros_like(first)

    def add(self, value: Tensor) -> None:
        self.count += 1
        step = value - self.mean
        self.mean += step / self.count
        self.squares += step * (value - self.mean)

    @property
    def moments(self) -> Moments:
        return Moments(self.mean, self.squares / (self.count - 1))


def layers(network: nn.Module) -> dict[str, nn.Module]:
    """The innermost modules that have an output, by name, and the network itself, whose name is empty."""
    found: dict[str, nn.Module] = {}

    def visit(name: str, module: nn.Module) -> None:
        children = [(n, c) for n, c in module.named_children() if not isinstance(c, _PARTS)]
        if isinstance(module, _WHOLE) or not children:
            found[name] = module
            return
        for child_name, child in children:
            visit(f"{name}.{child_name}" if name else child_name, child)

    visit("", network)
    found.setdefault("", network)
    return found


@contextmanager
def watched(network: nn.Module, see: Callable[[Place, Tensor], Any]) -> Iterator[None]:
    """Call a function with the output of each of the :func:`layers` inside the block; what it returns replaces it."""
    calls: dict[str, int] = {}
    handles = []

    def hook(name: str) -> Callable[..., Any]:
        def run(module: nn.Module, inputs: Any, output: Any) -> Any:
            place = Place(name, calls.get(name, 0))
            calls[name] = place.call + 1
            return see(place, output) if isinstance(output, Tensor) else None

        return run

    try:
        for name, module in layers(network).items():
            handles.append(module.register_forward_hook(hook(name)))
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def sampled(network: nn.Module, x: Any, draws: int, seed: int) -> dict[Place, Moments]:
    """Sample mean and variance of each layer's output over draws of the network's weights.

    Raises:
        SzilardError: fewer than two draws, or a network in training mode.
    """
    if draws < 2:
        raise SzilardError(f"draws must be at least 2, not {draws}: one draw has no deviation")
    refuse_training(network)
    found: dict[Place, Running] = {}

    def add(place: Place, value: Tensor) -> None:
        value = value if value.is_floating_point() else value.double()
        found.setdefault(place, Running(value)).add(value)

    for number in range(draws):
        with wrong_shape.named(network, x), drawn(network, seed, number), watched(network, add):
            call(network, x)
    return {place: running.moments for place, running in found.items()}


@torch.no_grad()
def in_one_pass(network: nn.Module, x: Any, see: Callable[[Place, GaussianTensor], Any]) -> None:
    """Propagate means and variances, and call a function with each layer's Gaussian output, in order."""

    def gaussian(place: Place, value: Tensor) -> Any:
        return see(place, value) if isinstance(value, GaussianTensor) else None

    refuse_training(network)
    with mode(network, "moments"), watched(network, gaussian):
        call(network, x)


def refuse_training(network: nn.Module) -> None:
    """Raise for a network in training mode."""
    if network.training:
        raise SzilardError("the network is in training mode; call network.eval() before it predicts")
