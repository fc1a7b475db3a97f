"""How good a network is, and what it costs."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

from szilard import bayes, cost, methods, metrics, networks
from szilard.bayes import weights
from szilard.cost import Cost
from szilard.data import DataSet, Split
from szilard.data.unseen import StandIns
from szilard.methods import Method
from szilard.metrics import Predictive
from szilard.model import details
from szilard.networks import WithNoise

Part = Literal["valid", "test"]


def measure(
    network: nn.Module,
    data: DataSet,
    *,
    method: Method | None = None,
    samples: int = 32,
    seed: int = 0,
    split: Part = "test",
    beside: dict[str, Any] | None = None,
) -> tuple[dict[str, float], Cost]:
    """Quality on one part of a data set, and the cost of one inference of one example.

    Args:
        network: any ``nn.Module``, Bayesian or not; it is not changed. Logits ``[B, C]``, or for a regression of k
            targets ``[B, k]`` (noises are then taken from the residuals on valid) or ``[B, 2 k]`` (means, log noise
            deviations).
        data: with the part that ``split`` names, and, for a regression of an ordinary network, a validation part.
        method: that trained it; without one, its answers are taken as they are.
        samples: draws of a Bayesian network.
        seed: of the draws.
        split: "test" or "valid".
        beside: is given what :func:`szilard.model.details.of` says of the same predictions.

    Returns:
        quality, as :func:`szilard.metrics.evaluate` names it, and cost.

    Raises:
        SzilardError: the network does not fit the data.
    """
    networks.check_fits(network, data)
    if method is None:
        method = methods.Deterministic(max(1, len(data.train)))
        method.set_task(data.target_type.meaning(data.n_outputs))
        method.stand_ins = StandIns.of(data.reading, data.shift, data.scale)
    if tells_mean_alone(network, data):
        network = with_noise(network, data)
    counted = cost.count(network, data.input_shape)
    part = getattr(data, split)
    quality, believed, elsewhere = judge(method, network, data, part, samples=samples, seed=seed)
    if beside is not None:
        beside |= details.of(believed, part.y, data, elsewhere=elsewhere, seed=seed)
    return quality, counted


@torch.no_grad()
def tells_mean_alone(network: nn.Module, data: DataSet) -> bool:
    """Whether a network of k quantities answers ``[B, k]``, without their noises."""
    return data.target_type.in_units and answers_mean_alone(network, data.train.x[:2], data.n_outputs)


@torch.no_grad()
def answers_mean_alone(network: nn.Module, x: torch.Tensor, targets: int = 1) -> bool:
    """The same, by inputs ``x [B, ...]`` and the number of targets."""
    device = next(network.parameters()).device
    with bayes.evaluating(network):
        return bool(network(x.to(device)).shape[1] == targets)


def judge(
    method: Method,
    network: nn.Module,
    data: DataSet,
    split: Split,
    *,
    samples: int,
    seed: int,
    ood: bool = True,
) -> tuple[dict[str, float], Predictive, Predictive | None]:
    """Quality on a split, with what the network believes of it and of out-of-distribution inputs."""
    believed = method.predict(network, split.x, samples=samples, seed=seed)
    elsewhere = None
    if ood and data.judged_ood is not None:
        elsewhere = method.predict(network, data.judged_ood.x, samples=samples, seed=seed)
    quality = metrics.evaluate(
        believed,
        split.y,
        ood=elsewhere,
        target_scale=data.target_scale,
        ignore_index=data.target_type.ignored,
    )
    return quality, believed, elsewhere


@torch.no_grad()
def with_noise(network: nn.Module, data: DataSet) -> nn.Module:
    """A network that answers ``[B, k]``, with the root mean squares of its residuals on valid as its noises."""
    if isinstance(network, WithNoise):
        return network
    wrapped = WithNoise(network, outputs=data.n_outputs).to(next(network.parameters()).device)
    wrapped.log_noise.copy_(_residuals(network, data).log().reshape(wrapped.log_noise.shape))
    return wrapped


def residual(network: nn.Module, data: DataSet) -> float:
    """Root mean square of the residuals on valid of a network that answers ``[B, 1]``, in its own units."""
    return float(_residuals(network, data)[0])


@torch.no_grad()
def _residuals(network: nn.Module, data: DataSet) -> torch.Tensor:
    """The same of each of k targets, ``[k]``."""
    device = next(network.parameters()).device
    with bayes.evaluating(network):
        parts = [network(x.to(device)).cpu() for x in data.valid.x.split(1024)]
    means = torch.cat(parts)
    return (means - data.valid.y.reshape(means.shape)).square().mean(0).sqrt().clamp_min(1e-6)


def densities(network: nn.Module) -> dict[str, float]:
    """Fraction of its entries that each weight on a support has."""
    return {name: weight.support.density for name, weight in weights(network).items()}
