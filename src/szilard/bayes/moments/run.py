"""Runs a network on means and variances."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from szilard.bayes.modes import mode
from szilard.bayes.moments.layer_moments import refuse_training
from szilard.bayes.moments.value import GaussianTensor, Moments, both
from szilard.errors import SzilardError
from szilard.networks import wrong_shape
from szilard.networks.takes import call


@torch.no_grad()
def propagate(network: nn.Module, x: Any, *, factors: Mapping[str, float] | None = None) -> Any:
    """Mean and variance of a network's outputs over its weights, in one forward pass.

    Weights are independent Gaussians, and so are the units of each layer: correlations between units, which shared
    inputs cause, are left out, so that standard deviations are typically 10 to 20 % too small, and 25 % behind many
    shortcuts (:func:`szilard.bayes.moments.check` measures it). Positions of a feature map share errors, which an
    average over all of them keeps (:mod:`szilard.bayes.moments.positions`).

    Args:
        network: from :func:`szilard.bayesianize` or :func:`szilard.bayes.from_moments`, in eval mode; not changed.
        x: inputs, as the network takes them; a ``GaussianTensor`` for inputs that are uncertain themselves.
        factors: factor of the variance of the output of a module (of a ReLU, of its input), by the module's name
            (:func:`szilard.bayes.moments.fit_factors`).

    Returns:
        :class:`Moments` ``(mean, variance)`` of the output, both with its shape; for an output of several tensors, the
        same structure of them.

    Raises:
        SzilardError: a network in training mode, inputs of a wrong shape, an operation without a rule, or a factor for
            no module.
    """
    refuse_training(network)
    with ExitStack() as stack:
        stack.enter_context(mode(network, "moments"))
        if factors:
            stack.enter_context(scaled(network, factors))
        stack.enter_context(wrong_shape.named(network, x))
        output = call(network, x)
    return pytree.tree_map_only(Tensor, _moments, output)


def _moments(value: Tensor) -> Moments:
    return Moments(*both(value))


@contextmanager
def scaled(network: nn.Module, factors: Mapping[str, float]) -> Iterator[None]:
    """Multiply the variance of the outputs of some modules inside the block, in all threads.

    Raises:
        SzilardError: no module has that name, or a factor is negative.
    """
    modules = dict(network.named_modules())
    for name, factor in factors.items():
        if name not in modules:
            raise SzilardError(f"the network has no module {name!r} whose variance could be scaled")
        if not factor >= 0:
            raise SzilardError(
                f"the factor of the variance of {name!r} must be at least zero, not {factor:g}"
            )
    handles = []
    try:
        for name, factor in factors.items():
            handles.append(modules[name].register_forward_hook(_Scaling(factor)))
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Scaling:
    """A forward hook that scales variances; other tensors pass."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        return pytree.tree_map_only(GaussianTensor, self._scaled, output)

    def _scaled(self, x: GaussianTensor) -> GaussianTensor:
        return x.scaled(self.factor)
