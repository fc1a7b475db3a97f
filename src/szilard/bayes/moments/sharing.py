"""Gaussian tensors whose positions share errors: what functions make of :mod:`szilard.bayes.moments.positions`.

Every function takes the answer of a rule and returns it with its model, or unchanged if its input has none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from szilard.bayes.moments import map_statistics, positions
from szilard.bayes.moments.map_statistics import Statistic
from szilard.bayes.moments.positions import Dense, Means
from szilard.bayes.moments.value import GaussianTensor, same_shape

Number = float | int | Tensor
#: Functions that give mean and variance of a weight, dense; None: it has no variance.
Weight = tuple[Dense, Dense | None]


class Window(NamedTuple):
    """Of a convolution, as functions of torch take it; ``zeros``, with which the map has been padded before."""

    kernel: Sequence[int]
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    groups: int = 1
    zeros: Sequence[int] = ()


def alone(x: Tensor) -> tuple[Tensor, Tensor | None]:
    """Mean and variance as of independent positions; the variance of an ordinary tensor is None."""
    return x.independent if isinstance(x, GaussianTensor) else (x, None)


def weighted(
    y: Tensor,
    x: Tensor,
    weight: Weight,
    window: Window | None = None,
    noise: Tensor | None = None,
) -> Tensor:
    """After a convolution of maps, or a linear map of vectors ``[B, I]``.

    Args:
        y: the output.
        x: the input, Gaussian or not.
        weight: its weight.
        window: of a convolution.
        noise: variance of the bias, ``[O]``.
    """
    if not isinstance(y, GaussianTensor) or x.dim() != y.dim() or y.dim() < 2:
        return y
    before, depth = None, None
    if y.dim() == 2 and (not isinstance(x, GaussianTensor) or x.shared is None):
        return y  # entries are independent: no map was before them
    if isinstance(x, GaussianTensor):
        before, depth = _model(x), x.spread.level
    if y.dim() == 2:
        return y.averaged(
            positions.product(before, weight, Statistic(map_statistics.mean, alone(x)[0]), depth, 1, noise)
        )
    assert window is not None
    centre, shares = Statistic(map_statistics.mean, alone(x)[0]), shares_of(x.shape[2:], y.shape[2:], window)
    return y.sharing(positions.product(before, weight, centre, depth, window.groups, noise, shares))


def shares_of(sizes: Sequence[int], outputs: Sequence[int], window: Window) -> list[tuple[float, ...]]:
    """Shares of :func:`szilard.bayes.moments.positions.inside` for each axis, from sizes of input and output."""
    count = len(sizes)
    stride, padding, dilation = (_each(value, count) for value in window[1:4])
    kernel = [int(n) for n in window.kernel]
    if window.padding == "same":
        padding = [d * (k - 1) // 2 for d, k in zip(dilation, kernel, strict=True)]
    zeros = [0] * (2 * count - len(window.zeros)) + [
        int(n) for n in reversed(window.zeros)
    ]  # behind, in front, ...
    found = []
    for k in range(count):
        how = kernel[k], stride[k], padding[k], dilation[k], zeros[2 * k + 1], zeros[2 * k]
        found.append(positions.inside(int(sizes[k]), int(outputs[k]), *how))
    return found


def _each(value: Any, count: int) -> list[int]:
    if isinstance(value, str):
        return [0] * count
    return [int(value)] * count if isinstance(value, int) else [int(n) for n in value]


def scaled(y: Tensor, x: Tensor, factor: Number) -> Tensor:
    """``x`` times a constant; one that differs between positions ends the model."""
    if not isinstance(y, GaussianTensor) or not isinstance(x, GaussianTensor) or x.shared is None:
        return y
    gain = _by_channel(factor, y) if same_shape(x, y) else None
    return y if gain is None else y.sharing(positions.scaled(x.shared, gain))


def scaled_average(x: GaussianTensor, factor: Number) -> GaussianTensor | None:
    """An average times a number, which stays one; None for other factors."""
    if isinstance(factor, Tensor) and factor.dim():
        return None
    (mean, variance), shared, square = x.independent, x.shared, float(factor) ** 2
    assert shared is not None
    found = GaussianTensor(mean * factor, variance * square)
    return found.averaged(positions.scaled(shared, float(factor)), x.spread.scaled(square))


def summed(y: GaussianTensor, terms: Sequence[tuple[Number, float]]) -> GaussianTensor:
    """A sum of terms with factors: maps, constants, and Gaussians that are the same for all positions."""
    maps = [(term, factor) for term, factor in terms if isinstance(term, GaussianTensor)]
    if all(term.shared is None for term, _ in maps):
        return y
    models: list[tuple[Means | None, float]] = []
    noise: Tensor | None = None
    for term, factor in maps:
        if same_shape(term, y):
            model = positions.independent(term.spread) if term.shared is None else term.shared
            models.append((model, factor))
            continue
        spread = _by_channel(term.moments.variance, y)
        if term.shared is not None or not isinstance(spread, Tensor) or spread.dim() > 1:
            return y
        spread = (spread * factor**2).expand(y.shape[1])
        noise = spread if noise is None else noise + spread
    found = positions.added(models, noise)
    return y.averaged(found) if y.dim() == 2 else y.sharing(found)


def multiplied(y: GaussianTensor, x: GaussianTensor, scale: GaussianTensor) -> GaussianTensor:
    """A map times a Gaussian scale ``[C, 1, ...]`` of each channel, which the positions share."""
    if x.shared is None or scale.shared is not None or not same_shape(x, y):
        return y
    gain, spread = (_by_channel(part, y) for part in scale.moments)
    if not isinstance(gain, Tensor) or not isinstance(spread, Tensor) or spread.dim() > 1:
        return y
    noise = (map_statistics.mean(x.moments.mean).square() + x.spread.level().square()) * spread
    return y.sharing(positions.added([(positions.scaled(x.shared, gain), 1.0)], noise))


def monotone(y: GaussianTensor, x: GaussianTensor) -> GaussianTensor:
    """After a monotone function of each entry, or a max-pool."""
    shared = x.shared
    if shared is None:
        return y
    variance = x.moments.variance

    def later(y: GaussianTensor) -> Means:
        return positions.monotone(shared, map_statistics.spread(variance), y.spread)

    return y.sharing(later)


def kept(y: GaussianTensor, x: GaussianTensor) -> GaussianTensor:
    """The same means over positions: of windows of equal size, or of every n-th position, approximately."""
    return y.sharing(x.shared)


def averaged(y: GaussianTensor, x: GaussianTensor, axes: Sequence[int]) -> GaussianTensor:
    """After an average over axes: over all positions, over some, or of channels, which ends the model."""
    if x.dim() < 3 or x.shared is None or min(axes, default=0) < 2:
        return y
    sizes = x.shape[2:]
    if all(size == 1 or axis + 2 in axes for axis, size in enumerate(sizes)):
        return y.averaged(x.shared, x.spread)
    return y.sharing(x.shared)


def rearranged(x: GaussianTensor, function: Callable[[Tensor], Tensor]) -> GaussianTensor | None:
    """A function that keeps the order of entries; None if ``x`` has no model or the answer has other channels."""
    lazy = x.is_lazy
    if (x.before_shared if lazy else x.shared) is None:
        return None
    pair = x.before_relu if lazy else x.independent
    assert pair is not None
    mean = function(pair.mean)
    if mean.dim() < 2 or mean.shape[:2] != x.shape[:2] or mean.numel() != pair.mean.numel():
        return None
    return x.rearranged(function)


def sliced(rule: Callable[..., GaussianTensor]) -> Callable[..., GaussianTensor]:
    """The rule of indexing, with models of slices of channels and of positions; an average keeps its only position."""

    def run(input: Tensor, index: Any) -> GaussianTensor:
        channels = _channels(input, index)
        if channels is None or not isinstance(input, GaussianTensor):
            return rule(input, index)
        lazy = input.is_lazy
        if (input.before_shared if lazy else input.shared) is None:
            return rule(input, index)
        if input.is_average and channels == slice(None):
            return input.rearranged(lambda values: values[index])
        found = rule(input, index)
        start, stop, _ = channels.indices(input.shape[1])

        def of(model: Means) -> Means:
            whole = (start, stop) == (0, input.shape[1])
            return model if whole else positions.window(model, start, stop - start, input.shape[1])

        if lazy and input.before_shared is not None:
            found.before_shared = of(input.before_shared)

        def later(_: GaussianTensor) -> Means:
            assert input.shared is not None
            return of(input.shared)  # of a ReLU by the spreads of all positions

        return found.sharing(later)

    return run


def _channels(x: Tensor, index: Any) -> slice | None:
    """The channels that an index takes of all examples, if it takes positions as slices; None for another index."""
    parts = index if isinstance(index, tuple) else (index,)
    if x.dim() < 2 or len(parts) > x.dim() or not all(isinstance(part, slice | int) for part in parts):
        return None
    if parts[0] != slice(None):
        return None
    if any(isinstance(part, int) and size != 1 for part, size in zip(parts[2:], x.shape[2:], strict=False)):
        return None
    channels = (*parts, slice(None))[1]
    return channels if isinstance(channels, slice) and channels.step in (None, 1) else None


def padded(shared: Means | None, pad: Sequence[int], shape: Sequence[int], zeros: bool) -> Means | None:
    """The model of a padded map.

    Args:
        shared: the model before.
        pad: as of :func:`torch.nn.functional.pad`.
        shape: before.
        zeros: whether constants are inserted, which have no errors.
    """
    axes, channels = len(shape), shape[1]
    pads = [*pad, *[0] * (2 * axes - len(pad))]
    (before, after), batch = pads[2 * axes - 4 : 2 * axes - 2], pads[2 * axes - 2 :]
    if shared is None or any(batch) or axes < 3:
        return None
    if before or after:
        shared = positions.window(shared, -before, channels + before + after, channels)
    if zeros:
        shares = [n / (n + sum(pads[2 * k : 2 * k + 2])) for k, n in enumerate(reversed(shape[2:]))]
        shared = positions.scaled(shared, math.prod(shares))
    return shared


def joined(tensors: Sequence[Tensor], dim: int) -> Means | None:
    """The model of a concatenation along channels."""
    rank = tensors[0].dim()
    if dim not in (1, 1 - rank) or rank < 3:
        return None
    models = [x.shared if isinstance(x, GaussianTensor) else None for x in tensors]
    if all(model is None for model in models):
        return None
    models = [_model(x) if isinstance(x, GaussianTensor) else None for x in tensors]
    return positions.joined(models, [x.shape[1] for x in tensors])


def _model(x: GaussianTensor) -> Means | None:
    """Of the input of a convolution or a linear map; a map without one has independent positions."""
    if x.shared is None and x.dim() > 2:
        return positions.independent(x.spread)
    return x.shared


def _by_channel(value: Number, y: Tensor) -> float | Tensor | None:
    """What is the same for all positions of ``y``: a number, ``[C]`` or ``[B, C]``; None: it differs between them."""
    if not isinstance(value, Tensor):
        return value
    channels = y.dim() - 1  # the axis from the end
    if value.dim() > y.dim() or any(n != 1 for n in value.shape[max(0, value.dim() - channels + 1) :]):
        return None
    found = value.reshape(value.shape[: max(0, value.dim() - channels + 1)])
    if found.dim() == 2 and found.shape[0] == 1:
        found = found[0]
    return found if found.dim() == 0 or found.shape[-1] in (1, y.shape[1]) else None
