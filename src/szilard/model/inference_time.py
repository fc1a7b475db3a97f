"""How a trained network is run where its latency is measured."""

from __future__ import annotations

from torch import nn

from szilard import bayes
from szilard.bayes.attention import BayesAttention
from szilard.bayes.original_classes import restore_classes
from szilard.cost import Cost
from szilard.cost.inputs import Inputs
from szilard.cost.latency import Latency, latencies
from szilard.cost.runtime import Runtime, plain_pytorch
from szilard.errors import SzilardError


def plain(network: nn.Module) -> nn.Module:
    """A copy in layers of torch, or of the user's own, with its mean weights and zeros for entries that do not exist.

    Raises:
        SzilardError: it has stochastic attention, for which torch has no layer.
    """
    if any(isinstance(module, BayesAttention) for module in network.modules()):
        raise SzilardError(
            "the latency of stochastic attention cannot be measured in plain PyTorch, which has no such layer; measure "
            "the network without latency"
        )
    found = bayes.point_network(network)
    restore_classes(found)
    return found


def runtime(network: nn.Module, inputs: Inputs, *, batch: int = 1) -> Runtime:
    """A trained network in plain PyTorch: dense layers of torch, see :func:`plain`.

    Args:
        network: any ``nn.Module``, Bayesian or not; it is not changed.
        inputs: as in :func:`szilard.cost.count`.
        batch: number of examples in one inference.

    Raises:
        SzilardError: as :func:`plain`, or the network does not run on these inputs.
    """
    if batch < 1:
        raise SzilardError(f"batch must be at least 1, not {batch}")
    return plain_pytorch(plain(network), inputs, batch=batch)


def measured(network: nn.Module, inputs: Inputs, *, batch: int = 1, threads: int | None = None) -> Latency:
    """Latency of a trained network in plain PyTorch, in this process.

    Args:
        network, inputs, batch: as in :func:`runtime`.
        threads: number of torch threads; None: as many as torch uses.

    Raises:
        SzilardError: as :func:`runtime`, or the machine is too noisy now.
    """
    found = runtime(network, inputs, batch=batch)
    return latencies({found.label: found.run}, threads=threads, waits=found.waits)[found.label]


def with_latency(cost: Cost, seconds: float, *, batch: int, threads: int) -> Cost:
    """A cost with the measured seconds of one inference and their conditions."""
    return cost.with_(seconds_per_inference=seconds, inference_batch=batch, inference_threads=threads)
