"""Runs a network on means and variances."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from szilard.bayes.modes import mode
from szilard.bayes.moments.value import GaussianTensor, Moments, both
from szilard.errors import SzilardError
from szilard.networks.takes import call


@torch.no_grad()
def propagate(network: nn.Module, x: Any, *, factors: Mapping[str, float] | None = None) -> Any:
    """Mean and variance of a network's outputs over its weights, in one forward pass.

    Weights are independent Gaussians, and so are the units of each layer: correlations between units, which shared inputs
    and shared weights cause, are left out, so that standard deviations are typically some 10 % too small
    (:func:`szilard.bayes.moments.check` measures it).

    Args:
        network: from :func:`szilard.bayesianize` or :func:`szilard.bayes.from_moments`, in eval mode; not changed.
        x: inputs, as the network takes them; a ``GaussianTensor`` for inputs that are uncertain themselves.
        factors: factor of the variance of the output of a module, by the module's name
            (:func:`szilard.bayes.moments.fit_factors`).

    Returns:
        :class:`Moments` ``(mean, variance)`` of the output, both with its shape; for an output of several tensors, the
        same structure of them.

    Raises:
        SzilardError: a network in training mode, or an operation without a rule.
    """
    if network.training:
        raise SzilardError("the network is in training mode; call network.eval() before it predicts")
    with ExitStack() as stack:
        stack.enter_context(mode(network, "moments"))
        stack.enter_context(scaled(network, factors or {}))
        output = call(network, x)
    return _moments(output)


@contextmanager
def scaled(network: nn.Module, factors: Mapping[str, float]) -> Iterator[None]:
    """Multiply the variance of the outputs of some modules inside the block.

    Raises:
        SzilardError: no module has that name.
    """
    modules = dict(network.named_modules())
    handles = []
    try:
        for name, factor in factors.items():
            if name not in modules:
                raise SzilardError(f"the network has no module {name!r} to scale the variance of")
            handles.append(modules[name].register_forward_hook(_Scaling(factor)))
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Scaling:
    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        if not isinstance(output, GaussianTensor):
            return output
        mean, variance = output.moments
        return GaussianTensor(mean, variance * self.factor)


def _moments(output: Any) -> Any:
    if isinstance(output, Tensor):
        return Moments(*both(output))
    if isinstance(output, dict):
        return {name: _moments(value) for name, value in output.items()}
    if isinstance(output, tuple | list):
        return type(output)(_moments(value) for value in output)
    return output
