"""A posterior as the prior of what is learnt next."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from szilard.bayes.network_weights import weights
from szilard.bayes.source_prior import SourcePrior
from szilard.bayes.weight import Weight
from szilard.errors import SzilardError


class Values(NamedTuple):
    """What a source has for one weight, as dense tensors of the weight's shape.

    Attributes:
        mean, log_std: m and ln s.
        known: bool, the entries that the source has; None: all.
    """

    mean: Tensor
    log_std: Tensor
    known: Tensor | None = None


class Unknown(NamedTuple):
    """A weight whose prior is fan-in, because the source has none of this shape; ``why`` says what it has instead."""

    name: str
    why: str


def posterior_values(network: nn.Module) -> dict[str, Values]:
    """The Gaussian posterior of each weight of a network, by the names of :func:`szilard.bayes.weights`.

    Entries outside a support are not known. Weights without σ are left out.
    """
    return {name: _values(weight) for name, weight in weights(network).items() if weight.log_std is not None}


@torch.no_grad()
def set_source_prior(
    network: nn.Module, source: Mapping[str, Values], *, widen: float = 1.0, scale: float = 1.0
) -> list[Unknown]:
    """Give the Gaussian weights of a network priors N(m_i, (widen s_i)²); their own values stay.

    A weight that has a :class:`~szilard.bayes.SourcePrior` of its shape gets the new values in place.

    Args:
        network: of :func:`szilard.bayesianize`, or prepared by a method with Gaussian weights.
        source: m and ln s by the names of :func:`szilard.bayes.weights`.
        widen: factor on every s.
        scale: of the fan-in prior of the entries that the source does not have.

    Returns:
        the weights for which the source has nothing of their shape, and why; their prior is fan-in for all entries.

    Raises:
        SzilardError: the network has no Gaussian weight; the source fits none of them; a factor that is not above zero;
            values that are not finite.
    """
    if not (0 < widen < math.inf):
        raise SzilardError(
            f"widen multiplies the σ of a prior and must be a number above zero, not {widen!r}"
        )
    gaussian = {name: weight for name, weight in weights(network).items() if weight.log_std is not None}
    if not gaussian:
        raise SzilardError(
            "the network has no Gaussian weight, so it takes no prior; convert it with szilard.bayesianize"
        )
    unknown = [
        Unknown(name, why) for name, weight in gaussian.items() if (why := _misfit(weight, source.get(name)))
    ]
    if len(unknown) == len(gaussian):
        raise SzilardError(
            f"no weight of the prior fits the network: {unknown[0].name or 'its weight'} {unknown[0].why}; name a "
            "prior of the same network"
        )
    left_out = {one.name for one in unknown}
    for name, weight in gaussian.items():
        _give(weight, None if name in left_out else source[name], math.log(widen), scale)
    return unknown


def posterior_as_prior(
    network: nn.Module, source: nn.Module | None = None, *, widen: float = 1.0, scale: float = 1.0
) -> list[Unknown]:
    """The posterior of a network as the prior of what it, or another network, learns next.

    Called with the network alone before each batch, it is variational continual learning (Nguyen et al. 2018).

    Args:
        network: whose priors are set.
        source: with Gaussian weights; by default the network itself.
        widen, scale: as in :func:`set_source_prior`.

    Returns:
        as :func:`set_source_prior`.

    Raises:
        SzilardError: as :func:`set_source_prior`.
    """
    return set_source_prior(
        network, posterior_values(network if source is None else source), widen=widen, scale=scale
    )


@torch.no_grad()
def start_at_prior(network: nn.Module) -> None:
    """Set μ and ln σ of existing entries to what source priors have for them; other entries keep theirs."""
    for weight in weights(network).values():
        if weight.log_std is None or not isinstance(weight.prior, SourcePrior):
            continue
        flat = weight.support.flat()
        mean, log_std = weight.prior.start(flat, weight.log_std.detach())
        weight.mean.copy_(torch.where(weight.prior.known.view(-1)[flat], mean, weight.mean))
        weight.log_std.copy_(log_std)


@torch.no_grad()
def _values(weight: Weight) -> Values:
    assert weight.log_std is not None  # of a Gaussian weight
    support, mean, log_std = weight.support, weight.mean.detach(), weight.log_std.detach()
    return Values(
        support.scatter(mean), support.scatter(log_std), None if support.is_full else support.mask()
    )


def _misfit(weight: Weight, values: Values | None) -> str:
    """Why a source cannot serve a weight, or nothing."""
    if values is None:
        return "is not in it"
    if values.mean.shape != weight.support.shape:
        return f"has shape {list(values.mean.shape)} there and {list(weight.support.shape)} here"
    if values.known is not None and not bool(values.known.any()):
        return "has no entry there"
    return ""


def _give(weight: Weight, values: Values | None, log_widen: float, scale: float) -> None:
    if values is None:
        weight.set_prior(SourcePrior.of_nothing(weight.mean.new_zeros(weight.support.shape), scale))
        return
    mean, log_std = values.mean.to(weight.mean), values.log_std.to(weight.mean) + log_widen
    prior = weight.prior
    if isinstance(prior, SourcePrior) and prior.scale == scale and prior.mean.shape == mean.shape:
        prior.set(mean, log_std, values.known)
    else:
        weight.set_prior(SourcePrior(mean, log_std, values.known, scale).to(mean.device))
