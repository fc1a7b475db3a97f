"""How a stochastic network answers for a while: by its mean, by local draws, by one coherent draw."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from szilard.bayes.groups import GroupScale, scales
from szilard.bayes.layers import MODES, BayesLayer, bayes_layers
from szilard.bayes.noise import Noise
from szilard.errors import SzilardError


@contextmanager
def mode(network: nn.Module, name: str) -> Iterator[nn.Module]:
    """Put every stochastic layer into ``"local"``, ``"sample"``, ``"mean"`` or ``"auto"`` inside the block."""
    if name not in MODES:
        raise SzilardError(f"unknown mode {name!r}: choose one of {', '.join(MODES)}")
    layers: list[BayesLayer | GroupScale] = [*bayes_layers(network).values(), *scales(network)]
    before = [layer.mode for layer in layers]
    for layer in layers:
        layer.mode = name
    try:
        yield network
    finally:
        for layer, old in zip(layers, before, strict=True):
            layer.mode = old


@contextmanager
def drawn(network: nn.Module, seed: int, sample: int = 0) -> Iterator[nn.Module]:
    """Hold one coherent draw of all weights inside the block: the same function for every input.

    The draw depends on (seed, sample) alone, so sample s is the same network wherever it is asked for.
    """
    noise = Noise()
    noise.reset(seed, sample)
    layers = list(bayes_layers(network).values())
    try:
        with torch.no_grad():
            for layer in layers:
                weight = layer.weight
                if not weight.is_point:
                    weight.draw = weight.sample(noise.normal(weight.mean.shape, weight.mean))
            for scale in scales(network):
                scale.hold(noise)
        yield network
    finally:
        for scale in scales(network):
            scale.draw = None
        for layer in layers:
            layer.weight.draw = None


@contextmanager
def evaluating(network: nn.Module) -> Iterator[nn.Module]:
    """Eval mode inside the block, each module's own mode restored after it."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield network
    finally:
        for module, training in modes.items():
            module.training = training
