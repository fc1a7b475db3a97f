"""Random inputs of the shapes that a network takes, for comparing outputs if no inputs are given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from szilard.bayes.layers import BayesConv, BayesLinear
from szilard.compression.imagined_inputs import LENGTHS, SIDES

EXAMPLES = 4
CUBES = (8, 16, 32, 64)
# Tried if none of the usual sizes runs, for example before a linear layer that reads every pixel.
ANY = {1: range(1, 129), 2: range(1, 65), 3: range(1, 33)}
WORDS = (8, 16, 5, 64, 128)
TOWERS = 8  # most layers that read parts of the input
POSITIONS = 3  # length of a sequence of features if it is not known
MOST = 1 << 22  # most numbers in one input

_STARTS = (nn.Linear, _ConvNd, nn.Embedding, nn.EmbeddingBag, nn.RNNBase, BayesLinear, BayesConv)


def random_inputs(network: nn.Module) -> list[Tensor]:
    """One batch ``[4, ...]`` of each layout that runs, because a BatchNorm normalises different things in them; empty
    if none runs.
    """
    first = next((module for module in network.modules() if isinstance(module, _STARTS)), None)
    like = next((p for p in network.parameters() if p.is_floating_point()), None)
    if first is None or like is None:
        return []
    make = _words(first, like) if isinstance(first, nn.Embedding | nn.EmbeddingBag) else _numbers(like)
    found = []
    for alternatives in _shapes(network, first):
        for shape in alternatives:
            if torch.Size(shape).numel() <= MOST and _runs(network, x := make(shape)):
                found.append(x)
                break
    return found


def _shapes(network: nn.Module, first: nn.Module) -> Iterator[list[tuple[int, ...]]]:
    """Shapes of one example: lists of alternatives; of each list the first that runs is used."""
    if isinstance(first, _ConvNd):
        yield from _images(first.in_channels, len(first.kernel_size), first.transposed)
    elif isinstance(first, BayesConv):
        shape = first.weight.support.shape
        yield from _images(shape[1] * first.groups, len(shape) - 2, transposed=False)
    elif isinstance(first, nn.Embedding | nn.EmbeddingBag):
        yield [(count,) for count in WORDS]
        yield [()]
    elif isinstance(first, nn.RNNBase):
        yield [(POSITIONS, first.input_size)]
    elif isinstance(first, nn.Linear | BayesLinear):
        features = first.in_features
        widths = [m.in_features for m in network.modules() if isinstance(m, nn.Linear | BayesLinear)]
        # Several layers can each read a part of the input.
        yield [(features,), *((total,) for total in list(accumulate(widths))[1:TOWERS])]
        norms = {norm.num_features for norm in network.modules() if isinstance(norm, _BatchNorm)}
        units = max(1, first.out_features)
        for count in sorted({POSITIONS, *norms, *(n // units for n in set(widths))} - {0, 1}):
            yield [(count, features)]
        for count in sorted(norms):
            yield [(count, 2, features), (count, features, features)]


def _images(channels: int, dims: int, transposed: bool) -> Iterator[list[tuple[int, ...]]]:
    usual, every = {1: LENGTHS, 2: SIDES, 3: CUBES}.get(dims, ()), ANY.get(dims, range(0))
    sizes = [4, 8] if transposed else []
    sizes += [size for size in usual if size in every]
    sizes += [
        *every,
        *(size for size in usual if size not in every),
    ]  # large ones last, because they are slow
    bare = (
        [tuple([size] * dims) for size in usual] if channels == 1 else []
    )  # the forward can add the one channel
    yield [(channels, *[size] * dims) for size in sizes] + bare


def _numbers(like: Tensor) -> Callable[[tuple[int, ...]], Tensor]:
    def make(shape: tuple[int, ...]) -> Tensor:
        x = torch.randn(EXAMPLES, *shape, generator=torch.Generator().manual_seed(0))
        size = torch.tensor([0.5, 1.0, 2.0, 4.0]).reshape(-1, *[1] * len(shape))
        return (size * x).to(like)

    return make


def _words(first: nn.Embedding | nn.EmbeddingBag, like: Tensor) -> Callable[[tuple[int, ...]], Tensor]:
    def make(shape: tuple[int, ...]) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        return torch.randint(first.num_embeddings, (EXAMPLES, *shape), generator=generator).to(like.device)

    return make


def _runs(network: nn.Module, x: Tensor) -> bool:
    try:
        with torch.no_grad():
            network(x)
    except Exception:  # any error of a network on an input of the wrong shape
        return False
    return True
