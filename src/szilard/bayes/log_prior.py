"""The prior of every trained parameter of a network with point values, for samplers and modes.

A weight on a support has the prior that it holds. An ordinary matrix or kernel has N(0, s²/fan-in), as the weights of
:func:`szilard.bayesianize` with ``prior="fan-in"``, or N(0, s²). All other parameters have N(0, 1), and the factors of
normalisations N(1, 1): so the posterior is proper in every direction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from szilard.bayes.network_weights import every_weight
from szilard.bayes.priors import FanInPrior, FixedPrior
from szilard.bayes.source_prior import SourcePrior
from szilard.bayes.weight import Weight
from szilard.errors import SzilardError

_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


@dataclass(frozen=True, eq=False)
class ParameterPrior:
    """N(mean, std²) for each entry of one parameter.

    Attributes:
        name: of the parameter in the network.
        parameter: the parameter itself.
        mean, std: numbers, or tensors of the parameter's shape.
    """

    name: str
    parameter: nn.Parameter
    mean: Tensor | float
    std: Tensor | float

    def log_density(self) -> Tensor:
        """Of the parameter's values, without constants of the normal distribution; nats, scalar."""
        return -0.5 * ((self.parameter - self.mean) / self.std).square().sum()


def parameter_priors(network: nn.Module, scale: float = 1.0, *, fan_in: bool = True) -> list[ParameterPrior]:
    """The priors of all parameters that are trained, in the order of ``network.parameters()``.

    Args:
        network: of point values; a Gaussian weight is read by its mean.
        scale: s, of ordinary matrices and kernels.
        fan_in: divide s² of ordinary matrices by their fan-in.

    Raises:
        SzilardError: a weight on a support whose prior has no density of its own (learned, log-uniform).
    """
    held = {id(one.weight.mean): (one.name, one.weight) for one in every_weight(network)}
    modules = {
        id(parameter): (module, leaf)
        for module in network.modules()
        for leaf, parameter in module.named_parameters(recurse=False)
    }
    found = []
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        if id(parameter) in held:
            mean, std = _of_weight(*held[id(parameter)])
        elif isinstance(modules[id(parameter)][0], Weight):  # ln σ, which a chain does not move
            continue
        else:
            mean, std = _of_parameter(*modules[id(parameter)], parameter, scale, fan_in)
        found.append(ParameterPrior(name, parameter, mean, std))
    return found


def log_prior(priors: list[ParameterPrior]) -> Tensor:
    """Log density of all parameters under their priors, without constants; nats, scalar."""
    return torch.stack([one.log_density() for one in priors]).sum() if priors else torch.zeros(())


def _of_weight(name: str, weight: Weight) -> tuple[Tensor | float, Tensor | float]:
    prior = weight.prior
    if isinstance(prior, FixedPrior):
        return 0.0, prior.scale
    if isinstance(prior, FanInPrior):
        return 0.0, prior.scale / math.sqrt(max(weight.fan_in, 1.0))
    if isinstance(prior, SourcePrior):
        outside = math.log(prior.scale / math.sqrt(max(weight.fan_in, 1.0)))
        mean, log_std = prior.start(weight.support.flat(), outside)
        return mean, log_std.exp()
    raise SzilardError(
        f"the prior of {name} ({type(prior).__name__}) has no density that a chain can sample; use the prior fan-in or "
        "fixed"
    )


def _of_parameter(
    module: nn.Module, leaf: str, parameter: Tensor, scale: float, fan_in: bool
) -> tuple[float, float]:
    if isinstance(module, _NORMS):
        return (1.0 if leaf == "weight" else 0.0), 1.0
    if parameter.dim() < 2 or isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return 0.0, 1.0
    inputs = parameter[0].numel()
    if getattr(module, "transposed", False):  # its first dimension is that of inputs
        inputs = parameter.numel() // parameter.shape[1] if parameter.shape[1] else 1
    return 0.0, scale / math.sqrt(max(inputs, 1)) if fan_in else scale
