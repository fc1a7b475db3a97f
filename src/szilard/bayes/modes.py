"""Temporary modes of a stochastic network: its mean, local draws, or one coherent draw.

A block holds only in the thread that entered it, so any number of threads can use one network at once. It does not hold
for a copy of the network made inside the block.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from szilard.bayes.base_layer import MODES, BayesLayer
from szilard.bayes.drawn_weights import BayesWeights
from szilard.bayes.groups import GroupScale
from szilard.bayes.noise import Noise
from szilard.bayes.thread_state import Block, entered
from szilard.errors import SzilardError
from szilard.networks.evaluating import evaluating, settle_threads

__all__ = ["drawn", "evaluating", "mode"]


@contextmanager
def mode(network: nn.Module, name: str) -> Iterator[nn.Module]:
    """Put every stochastic layer into a mode inside the block: ``"local"``, ``"sample"``, ``"mean"``, ``"moments"`` or
    ``"auto"`` (:data:`szilard.bayes.base_layer.MODES`).

    Raises:
        SzilardError: an unknown mode; a network that runs its own threads.
    """
    if name not in MODES:
        raise SzilardError(f"unknown mode {name!r}: choose one of {', '.join(MODES)}")
    stochastic = [
        module for module in _modules(network) if isinstance(module, BayesLayer | BayesWeights | GroupScale)
    ]
    with entered(Block(modes=dict.fromkeys(stochastic, name))):
        yield network


@contextmanager
def drawn(network: nn.Module, seed: int, sample: int = 0) -> Iterator[nn.Module]:
    """Hold one coherent draw of all weights inside the block: the same function for every input.

    The draw depends on (seed, sample) alone, so sample s is the same network everywhere. It takes precedence over a
    mode, whichever block is inside the other.

    Raises:
        SzilardError: a network that runs its own threads.
    """
    modules = _modules(network)
    noise = Noise()
    noise.reset(seed, sample)
    draws: dict[nn.Module, Tensor] = {}
    with torch.no_grad():
        for layer in modules:
            if isinstance(layer, BayesLayer):
                found = [layer.weight]
            else:
                found = list(layer.weights.values()) if isinstance(layer, BayesWeights) else []
            for weight in found:
                if not weight.is_point:
                    draws[weight] = weight.sample(noise.normal(weight.mean.shape, weight.mean))
        for scale in modules:
            if isinstance(scale, GroupScale):
                draws[scale] = scale.sample(noise.normal((scale.groups,), scale.like()))
    with entered(Block(draws=draws)):
        yield network


def _modules(network: nn.Module) -> list[nn.Module]:
    """All modules of a network; raises for a network that runs replicas in its own threads, where no block holds."""
    settle_threads()
    modules = list(network.modules())
    for module in modules:
        if isinstance(module, nn.DataParallel) and len(module.device_ids) > 1:
            raise SzilardError(
                "nn.DataParallel runs its own threads, in which no draw or mode holds; pass the network "
                "inside it (network.module)"
            )
    return modules
