"""Inputs for a network without data: its BatchNorms see the same statistics as in training.

    minimise over x   Σ_BatchNorms mean_c [ ((μ̂_c - μ_c) / σ_c)² + (σ̂_c / σ_c - 1)² ]

with μ, σ the running statistics and μ̂, σ̂ those of the batch (Yin et al. 2020; Cai et al. 2020). The inputs need not
look natural: only the second moments of every layer's inputs and their gradients are used.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from szilard.compression.curvature import Forward
from szilard.compression.patches import LAYERS

SIDES = (32, 28, 64, 96, 128, 224, 256, 299, 384, 512)  # of images, tried in this order
LENGTHS = (128, 256, 512, 1024, 4096, 16384)  # of sequences
DEPTHS = (16, 32, 8, 64, 128)  # of volumes
TRIED = 16  # examples on which units are tried
OCTAVES = range(-10, 18, 2)  # log2 of the sizes that are tried
FARS = (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 4.0)  # means that are tried, in multiples of the size
BETTER = 4.0  # other units are used if they are this many times closer to the statistics


def imagine(
    network: nn.Module,
    shape: tuple[int, ...],
    *,
    examples: int = 128,
    steps: int = 100,
    lr: float = 0.1,
    seed: int = 0,
    forward: Forward = lambda network, x: network(x),
    scale: Tensor | None = None,
) -> Tensor:
    """Inputs ``[examples, *shape]`` that fit the network's BatchNorm statistics.

    Args:
        network: in eval mode, not changed; with at least one BatchNorm that has running statistics.
        shape: of one input.
        examples: how many.
        steps, lr: of Adam on the inputs, with a cosine schedule.
        seed: of the initial noise.
        forward: calls the network on inputs ``[B, *shape]``.
        scale: sizes of the numbers of an input ``[*shape]`` if inputs are in raw units: the inputs get these units.
    """
    x = _start(examples, shape, torch.Generator().manual_seed(seed)).to(_device(network))
    sizes = None if scale is None or scale.shape != shape else scale.to(x)
    middle, sizes = _units(network, x[:TRIED], sizes, forward)
    x.requires_grad_()
    optimizer = torch.optim.Adam([x], lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    wanted = {p: p.requires_grad for p in network.parameters()}
    try:
        for p in wanted:
            p.requires_grad_(False)
        with torch.enable_grad(), _distances(network) as distances:
            for _ in range(steps):
                distances.clear()
                forward(network, _placed(x, middle, sizes))
                optimizer.zero_grad()
                torch.stack(distances).sum().backward()
                optimizer.step()
                schedule.step()
    finally:
        for p, was in wanted.items():
            p.requires_grad_(was)
    return _placed(x.detach(), middle, sizes)


@contextmanager
def _distances(network: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the distance of each BatchNorm's inputs from its running statistics, during forward passes."""
    found: list[Tensor] = []
    hooks = [
        norm.register_forward_hook(lambda norm, given, output: found.append(_distance(norm, given[0])))
        for norm in norms(network)
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def placed(network: nn.Module, x: Tensor, forward: Forward) -> Tensor:
    """Noise of unit size, scaled and shifted to the inputs that the BatchNorms expect; unchanged if not known."""
    if not x.is_floating_point() or next(norms(network), None) is None:
        return x
    return _placed(x, *_units(network, x[:TRIED], None, forward))


def _placed(x: Tensor, middle: Tensor | None, sizes: Tensor | None) -> Tensor:
    x = x if sizes is None else x * sizes
    return x if middle is None else x + middle


@torch.no_grad()
def _units(
    network: nn.Module, x: Tensor, sizes: Tensor | None, forward: Forward
) -> tuple[Tensor | None, Tensor | None]:
    """Mean and size of the inputs, from BatchNorm statistics, broadcastable to ``[B, ...]``.

    A BatchNorm that reads the inputs themselves gives them for each channel. Otherwise one size and one mean for all
    numbers are tried. They are used if the statistics fit :data:`BETTER` times as well, as for images from 0 to 255.

    Args:
        x: some noise of unit size.
        sizes: of the numbers, if the first weights show them.
    """
    read: list[_BatchNorm] = []

    def look(norm: _BatchNorm, given: tuple[Tensor, ...]) -> None:
        if isinstance(given[0], Tensor) and given[0].shape == x.shape and given[0].data_ptr() == x.data_ptr():
            read.append(norm)

    hooks = [norm.register_forward_pre_hook(look) for norm in norms(network)]
    try:
        forward(network, x)
    finally:
        for hook in hooks:
            hook.remove()
    if read:
        mean, variance = read[0].running_mean, read[0].running_var
        assert mean is not None
        assert variance is not None
        shape = [-1 if d == 1 else 1 for d in range(x.dim())]
        return mean.to(x).reshape(shape), (variance + read[0].eps).sqrt().to(x).reshape(shape)
    with _distances(network) as distances:

        def distance(size: float, middle: float) -> float:
            distances.clear()
            forward(
                network,
                _placed(x, x.new_tensor(middle), x.new_tensor(size) if sizes is None else size * sizes),
            )
            found = float(torch.stack(distances).sum()) if distances else math.inf
            return found if math.isfinite(found) else math.inf

        usual = distance(1.0, 0.0)
        size = min((2.0**octave for octave in OCTAVES), key=lambda size: distance(size, 0.0))
        places = [(near, near * far) for near in (size / 2, size, 2 * size) for far in FARS]
        best, size, middle = min((distance(*place), *place) for place in places)
    if not best * BETTER < usual:
        return None, sizes
    whole = x.new_tensor(size)
    return x.new_tensor(middle), whole if sizes is None else whole * sizes


def norms(network: nn.Module) -> Iterator[_BatchNorm]:
    """The BatchNorms with running statistics."""
    for module in network.modules():
        if isinstance(module, _BatchNorm) and module.running_mean is not None:
            yield module


def guess_shape(network: nn.Module) -> tuple[int, ...] | None:
    """The shape of an input, from the first layer and trial calls; None if no shape runs."""
    first = next((module for module in network.modules() if isinstance(module, LAYERS)), None)
    shapes: list[tuple[int, ...]] = []
    if isinstance(first, nn.Conv2d):
        shapes = [(first.in_channels, side, side) for side in SIDES]
    elif isinstance(first, nn.Conv3d):
        shapes = [(first.in_channels, side, side, side) for side in DEPTHS]
    elif isinstance(first, nn.Conv1d):
        shapes = [(first.in_channels, length) for length in LENGTHS]
    elif isinstance(first, nn.Linear):
        shapes = [(first.in_features,)]
    for shape in shapes:
        try:
            with torch.no_grad():
                network(torch.zeros(2, *shape, device=_device(network)))
        except Exception:  # any error of a network on an input of the wrong shape
            continue
        return shape
    return None


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


def _start(examples: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Noise; for images with the spectrum 1/f of natural images, and correlated channels."""
    noise = torch.randn(examples, *shape, generator=generator)
    if len(shape) != 3:
        return noise
    height, width = shape[1:]
    frequency = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1 / max(height, width)
    noise = 0.4 * noise + torch.randn(examples, 1, height, width, generator=generator)
    x = torch.fft.irfft2(torch.fft.rfft2(noise) / frequency, s=(height, width))
    return (x / x.std()).contiguous(memory_format=torch.channels_last)


def _distance(norm: _BatchNorm, x: Tensor) -> Tensor:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    axes = [d for d in range(x.dim()) if d != 1]
    variance = norm.running_var + norm.eps
    shift = (x.mean(axes) - norm.running_mean).square() / variance
    spread = ((x.var(axes, unbiased=False) + norm.eps).sqrt() / variance.sqrt() - 1).square()
    return (shift + spread).mean()
