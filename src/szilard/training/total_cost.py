"""What a finished run has cost, the training included."""

from __future__ import annotations

from torch import nn

from szilard import cost
from szilard.cost import Cost
from szilard.methods import Method


def of_run(
    network: nn.Module,
    input_shape: tuple[int, ...],
    method: Method,
    *,
    examples: int,
    seconds: float,
    peak_bytes: int,
) -> Cost:
    """One inference, counted; the whole training, counted and measured; joules of both, estimated.

    Args:
        network: trained.
        method: that trained it, with its step at the end.
        examples: (example, step) pairs of all processes together.
        seconds: of all optimiser steps.
        peak_bytes: of this process while it trained.
    """
    steps = max(1, method.step)
    growth = round(examples * _growth_steps(method) / steps)
    flops = cost.training_flops(network, input_shape, examples=examples, growth_examples=growth)
    counted = cost.count(network, input_shape).with_(train_flops=flops)
    values = sum(p.numel() for p in network.parameters() if p.requires_grad)
    return cost.joules(counted, steps=method.step, trained_values=values).with_(
        seconds=seconds, seconds_per_step=seconds / steps, peak_bytes=peak_bytes
    )


def _growth_steps(method: Method) -> int:
    """How many steps formed a dense weight gradient to move a support."""
    moves = getattr(method, "moves", None)
    if moves is None or getattr(method, "density", 1.0) == 1:
        return 0
    total = method.total_steps or 0
    return sum(moves.schedule.collects(step, total, moves.batches) for step in range(method.step))
