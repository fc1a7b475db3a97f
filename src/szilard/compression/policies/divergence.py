"""KL(original ‖ compressed) of the predictions on unlabelled inputs, in nats per example."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from szilard.compression.outputs import call
from szilard.likelihood import Likelihood, choose

BATCH = 64  # inputs at a time; with more, the activations of small images leave the processor's cache


def likelihood_of(outputs: Tensor, task: str | None = None) -> Likelihood:
    """What the outputs ``[N, ...]`` of the original network mean: classes, labels, or quantities of their own scale.

    Args:
        outputs: of the original network.
        task: one of :data:`szilard.likelihood.TASKS`; None: seen from the outputs.
    """
    return choose(outputs, task=task).likelihood


@torch.no_grad()
def outputs_of(network: nn.Module, inputs: Tensor, batch: int = BATCH) -> Tensor:
    """The judged outputs ``[N, ...]`` of a network in eval mode for all inputs ``[N, ...]``."""
    return torch.cat([call(network, part) for part in inputs.split(batch)])


def kl(
    original_outputs: Tensor, network: nn.Module, inputs: Tensor, likelihood: Likelihood | None = None
) -> float:
    """KL(original ‖ network), the mean over examples (and positions, of classes that have them), in nats.

    It is computed in float64 from log probabilities, so that it is exact for networks that are very certain.

    Args:
        original_outputs: of the original network for these inputs, ``[N, ...]`` (:func:`outputs_of`).
        network: compressed, in eval mode.
        inputs: ``[N, ...]``.
        likelihood: of the outputs; None: :func:`likelihood_of` of the original's.

    Returns:
        nats; infinite if an output is NaN or infinite.
    """
    return between(original_outputs, outputs_of(network, inputs), likelihood)


def between(original: Tensor, compressed: Tensor, likelihood: Likelihood | None = None) -> float:
    """The same for outputs that are known, ``[N, ...]`` each."""
    if not bool(torch.isfinite(compressed).all()):
        return math.inf
    known = likelihood_of(original) if likelihood is None else likelihood
    found = float(known.divergence(original.double(), compressed.double()))
    return max(found, 0.0)  # of equal outputs it can be -1e-17
