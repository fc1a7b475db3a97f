"""The cost of a finished run, including its training."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from szilard import cost
from szilard.bayes.network_weights import every_weight
from szilard.cost import Cost
from szilard.methods import Method


def of_run(
    network: nn.Module,
    input_shape: tuple[int, ...],
    method: Method,
    *,
    batches: Sequence[int],
    seconds: float,
    peak_bytes: int,
) -> Cost:
    """Counted cost of one inference, counted and measured cost of the training, and estimated joules of both.

    Args:
        network: trained.
        method: the method that trained it, at its last step.
        batches: examples in each batch of an epoch, of all processes together.
        seconds: time of all optimiser steps.
        peak_bytes: peak memory of this process during training.
    """
    steps = max(1, method.step)
    epochs, more = divmod(method.step, len(batches))
    names = [held.name for held in every_weight(network)]
    entries, explored = (
        dict(zip(names, found, strict=True)) if found else {}
        for found in (method.mean_entries, method.explored_entries)
    )
    flops = cost.training_flops(
        network,
        input_shape,
        examples=epochs * sum(batches) + sum(batches[:more]),
        growth_examples=_growth_examples(method, batches),
        mean_entries=entries,
        explored_entries=explored,
        growth_of_full=bool(getattr(getattr(method, "moves", None), "redistributes", False)),
    )
    counted = cost.count(network, input_shape).with_(train_flops=flops)
    values = sum(p.numel() for p in network.parameters() if p.requires_grad)
    return cost.joules(counted, steps=method.step, trained_values=values).with_(
        seconds=seconds, seconds_per_step=seconds / steps, peak_bytes=peak_bytes
    )


def _growth_examples(method: Method, batches: Sequence[int]) -> int:
    """Examples of the steps that computed a dense weight gradient to move a support."""
    moves = getattr(method, "moves", None)
    if moves is None or getattr(method, "density", 1.0) == 1:
        return 0
    return int(moves.gradient_examples(batches, method.step, method.total_steps or 0))
