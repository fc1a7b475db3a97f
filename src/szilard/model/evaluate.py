"""Measure the quality of a network on a data set, and its cost."""

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
from szilard.model import details, inference_time
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
    latency: bool = False,
    batch: int = 1,
    threads: int | None = None,
) -> tuple[dict[str, float], Cost]:
    """Quality on one part of a data set, and the cost of inference for one example.

    Args:
        network: any ``nn.Module``, Bayesian or not; it is not changed. Outputs are logits ``[B, C]``; for a regression
            with k targets ``[B, k]`` (noise is then estimated from the residuals on the validation set) or
            ``[B, 2 k]`` (means, log noise standard deviations).
        data: with the part ``split``, and, if a regression network has no noise outputs, a validation set.
        method: that trained the network; without one, outputs are interpreted as above.
        samples: number of weight samples of a Bayesian network.
        seed: of the samples.
        split: "test" or "valid".
        beside: a dict that receives the fields of :func:`szilard.model.details.of` for the same predictions.
        latency: also measure ``seconds_per_inference`` (:func:`szilard.model.inference_time.measured`), which takes
            about two seconds.
        batch: number of examples in one inference whose latency is measured.
        threads: number of torch threads for it; None: as many as torch uses.

    Returns:
        quality, with the names of :func:`szilard.metrics.evaluate`, and cost.

    Raises:
        SzilardError: the network does not fit the data, or the machine is too noisy to measure latency.
    """
    networks.check_fits(network, data)
    if method is None:
        method = methods.Deterministic(max(1, len(data.train)))
        method.set_task(data.target_type.meaning(data.n_outputs))
        method.stand_ins = StandIns.of(data.reading, data.shift, data.scale)
    if lacks_noise(network, data):
        network = with_noise(network, data)
    found = cost.count(network, data.input_shape)
    if latency:
        timed = inference_time.measured(network, data.input_shape, batch=batch, threads=threads)
        found = inference_time.with_latency(found, timed.median, batch=batch, threads=timed.threads)
    part = getattr(data, split)
    quality, predicted, ood = judge(method, network, data, part, samples=samples, seed=seed)
    if beside is not None:
        beside |= details.of(predicted, part.y, data, ood=ood, seed=seed)
    return quality, found


@torch.no_grad()
def lacks_noise(network: nn.Module, data: DataSet) -> bool:
    """Whether a regression network with k targets outputs ``[B, k]``, without noise deviations."""
    return data.target_type.in_units and outputs_means_only(network, data.train.x[:2], data.n_outputs)


@torch.no_grad()
def outputs_means_only(network: nn.Module, x: torch.Tensor, targets: int = 1) -> bool:
    """Whether a network outputs ``[B, targets]`` for inputs ``x [B, ...]``."""
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
    """Quality on a split, and the predictions for it and for out-of-distribution inputs."""
    predicted = method.predict(network, split.x, samples=samples, seed=seed)
    predicted_ood = None
    if ood and data.judged_ood is not None:
        predicted_ood = method.predict(network, data.judged_ood.x, samples=samples, seed=seed)
    quality = metrics.evaluate(
        predicted,
        split.y,
        ood=predicted_ood,
        target_scale=data.target_scale,
        ignore_index=data.target_type.ignored,
    )
    return quality, predicted, predicted_ood


@torch.no_grad()
def with_noise(network: nn.Module, data: DataSet) -> nn.Module:
    """Add noise outputs to a network that outputs ``[B, k]``: the RMS residual of each target on the validation set."""
    if isinstance(network, WithNoise):
        return network
    wrapped = WithNoise(network, outputs=data.n_outputs).to(next(network.parameters()).device)
    wrapped.log_noise.copy_(_residuals(network, data).log().reshape(wrapped.log_noise.shape))
    return wrapped


def residual(network: nn.Module, data: DataSet) -> float:
    """RMS residual on the validation set of a network that outputs ``[B, 1]``, in the network's units."""
    return float(_residuals(network, data)[0])


@torch.no_grad()
def _residuals(network: nn.Module, data: DataSet) -> torch.Tensor:
    """RMS residual of each of k targets, ``[k]``."""
    device = next(network.parameters()).device
    with bayes.evaluating(network):
        parts = [network(x.to(device)).cpu() for x in data.valid.x.split(1024)]
    means = torch.cat(parts)
    return (means - data.valid.y.reshape(means.shape)).square().mean(0).sqrt().clamp_min(1e-6)


def densities(network: nn.Module) -> dict[str, float]:
    """Density of each weight that has a support: stored entries as a fraction of all."""
    return {name: weight.support.density for name, weight in weights(network).items()}
