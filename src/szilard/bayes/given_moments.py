"""Networks whose weights are Gaussians that were fitted elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from szilard.bayes.drawn_weights import CHILD, Drawn, convert
from szilard.bayes.network_weights import every_weight
from szilard.bayes.noise import Noise
from szilard.bayes.priors import FixedPrior
from szilard.bayes.recurrent import DrawnRecurrent
from szilard.bayes.weight import Weight
from szilard.errors import SzilardError
from szilard.networks import copied
from szilard.sparse import Support


@torch.no_grad()
def from_moments(
    network: nn.Module, moments: Mapping[str, tuple[Tensor, Tensor]], *, seed: int = 0
) -> nn.Module:
    """A copy of a network, in eval mode, in which some parameters are independent Gaussians with given moments.

    So a posterior that another method or library fitted (the diagonal of a Laplace approximation or of SWAG,
    variational inference, an ensemble's spread) has all that Bayesian networks have here: coherent draws,
    :func:`szilard.bayes.propagate`, :func:`szilard.bayes.linearised`. Weights, biases and parameters of normalisation
    can be Gaussian, in modules of any class, which keep their forward.

    Args:
        network: an ordinary network; not changed.
        moments: mean and standard deviation by the name of a parameter, as in ``network.named_parameters()``, both of
            its shape. Other parameters stay as they are.
        seed: of the draws of layers outside of a ``drawn`` block.

    Raises:
        SzilardError: a network that is Bayesian already; an unknown name or another shape; a value that is not finite
            or a negative deviation; a module whose parameters cannot be drawn.
    """
    if any(every_weight(network)):
        raise SzilardError("the network is Bayesian already; pass the ordinary network")
    if not moments:
        raise SzilardError("moments names no parameter; give mean and standard deviation of at least one")
    network = copied(network).eval()
    owners: dict[int, list[tuple[nn.Module, str]]] = {}
    for module in network.modules():
        for leaf, parameter in module._parameters.items():
            if parameter is not None:
                owners.setdefault(id(parameter), []).append((module, leaf))
    parameters = dict(network.named_parameters(remove_duplicate=False))
    named: dict[nn.Module, dict[str, Weight]] = {}
    made: dict[int, str] = {}
    for name, pair in moments.items():
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise SzilardError(f"the moments of {name} are no pair; give (mean, standard deviation)")
        mean, std = pair
        if name not in parameters:
            raise SzilardError(
                f"the network has no parameter {name!r}; its names are those of network.named_parameters()"
            )
        parameter = parameters[name]
        if id(parameter) in made:
            raise SzilardError(f"{made[id(parameter)]} and {name} are one parameter; give its moments once")
        made[id(parameter)] = name
        weight = _weight(name, parameter, mean, std)
        for module, leaf in owners[id(parameter)]:
            named.setdefault(module, {})[leaf] = weight
    noise = Noise(seed)
    for module, weights in named.items():
        _convert(network, module, weights, noise)
    _follow(network)
    return network


def _weight(name: str, parameter: Tensor, mean: Tensor, std: Tensor) -> Weight:
    mean, std = (torch.as_tensor(value).to(parameter) for value in (mean, std))
    if mean.shape != parameter.shape or std.shape != parameter.shape:
        raise SzilardError(
            f"{name} has shape {list(parameter.shape)}, but its mean has {list(mean.shape)} and its standard deviation "
            f"{list(std.shape)}"
        )
    if parameter.dim() == 0:
        raise SzilardError(f"{name} is a single number without axes, which cannot be Gaussian")
    if not bool(mean.isfinite().all() and std.isfinite().all()):
        raise SzilardError(f"the moments of {name} contain NaN or infinite values")
    if bool((std < 0).any()):
        raise SzilardError(f"a standard deviation of {name} is negative; is it a logarithm?")
    log_std = std.clamp_min(torch.finfo(std.dtype).tiny).log().flatten()
    support = Support.full(parameter.shape).to(parameter.device)
    weight = Weight(support, mean.flatten().clone(), log_std, FixedPrior(1.0))
    return weight.requires_grad_(parameter.requires_grad)


def _convert(network: nn.Module, module: nn.Module, weights: dict[str, Weight], noise: Noise) -> None:
    base = DrawnRecurrent if isinstance(module, nn.RNNBase) else Drawn
    try:
        if CHILD in dir(module):
            raise TypeError(f"it has its own {CHILD}")
        convert(module, weights, noise, base)
    except TypeError as error:
        name = next(name for name, one in network.named_modules() if one is module) or "the network"
        raise SzilardError(
            f"{', '.join(weights)} of {name} ({type(module).__name__}) cannot be drawn: {error}"
        ) from error
    if isinstance(module, nn.RNNBase):
        module.__dict__.pop("_flat_weights", None)  # the weights before conversion


def _follow(network: nn.Module) -> None:
    """Keep torch's transformers from reading weights instead of calling layers, as after ``bayesianize``."""
    for module in network.modules():
        inside = any(isinstance(one, Drawn) for one in module.modules())
        if isinstance(module, nn.TransformerEncoderLayer) and inside:
            module.activation_relu_or_gelu = 0
        if isinstance(module, nn.TransformerEncoder) and inside:
            module.use_nested_tensor = False
