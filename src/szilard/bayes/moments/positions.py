"""Errors that the positions of a feature map share, because they share weights: what an average over positions keeps.

The rules for maps treat positions as independent, so that an average over n of them would divide the variance by n.
Beside each map travels the linear model of one number for each channel, the mean over positions:

* A convolution maps the means of its input by M = Σ_k f_k m, and adds an error of its own with variance
  Σ_i S (x̄_i² + l_i²) for each output channel, S = Σ_k f_k² s. m and s are mean and variance of the weight, and f_k is
  the share of output positions at which entry k of the window lies inside the map. x̄ is the mean over positions of the
  input, and l, the mean over positions of its standard deviations, is the standard deviation of x̄ if all positions move
  together.
* A rectifier, another monotone function of each entry or a max-pool keeps the correlation of positions. So it scales
  the error of the mean by l after it / l before it.
* Scales, sums of branches, slices and concatenations of channels are exact.

All errors are independent of each other, and the model keeps how each channel depends on them: channels and the
branches of a sum are correlated. When the variance of a mean over all positions, or of a vector computed from it, is
read, rows of the model are followed back (reverse accumulation) and the contributions of all errors are added.
Networks that take no such mean do not pay for that.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from szilard.bayes.moments.map_statistics import Spread, Statistic
from szilard.kernels.transforms import transformed

#: From rows over this model's channels, ``[B or 1, R, C]``, to rows over those of a parent. Compiled programs have
#: their own type of rows and of variances.
Back = Callable[[Any], Any]
#: Gives a dense tensor for the entries of a weight, ``[O, I / groups, *window]``.
Dense = Callable[[], Tensor]

_AT_ONCE = 1 << 23  # numbers in the rows that are followed back together
_JOINED = 1024  # channels whose contributions are computed together
_KEPT = 6  # models before a product whose maps are kept
_numbers = itertools.count()


class Means:
    """The error of the mean over positions, for each channel of a map, as a linear function of independent errors.

    Args:
        parents: models that it depends on, and how rows are followed back to each.
        noise: gives the variance of its own error, ``[B, C]`` or ``[C]``; None: it has none.
        statistics: of maps, that its functions need.
    """

    __slots__ = ("_statistics", "noise", "number", "parents")

    def __init__(
        self,
        parents: Sequence[tuple[Means, Back]],
        noise: Callable[[], Any] | None = None,
        statistics: Sequence[Statistic] = (),
    ) -> None:
        self.parents, self.noise, self.number = tuple(parents), noise, next(_numbers)
        self._statistics: Sequence[Statistic] | None = statistics

    def settle(self, after: int = 0) -> None:
        """Compute statistics, so that no maps are kept, but not those of the last ``after`` models.

        Networks whose maps are not averaged after a few layers do not pay for statistics.
        """
        if self._statistics is None:
            return
        if after <= 0:
            for statistic in self._statistics:
                statistic()
            self._statistics = None
        for parent, _ in self.parents:
            parent.settle(after - 1)


def variance(of: Means, like: Tensor) -> Tensor:
    """Variance of the mean over positions of each channel.

    Args:
        of: the model.
        like: ``[B, C]``, for type, device and shape.

    Returns:
        ``[B, C]``.
    """
    batch, channels = like.shape
    eye = torch.eye(channels, dtype=like.dtype, device=like.device).unsqueeze(0)
    whole = torch.compiler.is_compiling() or transformed()
    rows = channels if whole else max(1, min(channels, _AT_ONCE // max(1, batch * channels)))
    parts = []
    for k in range(0, channels, rows):
        total = _Contributions(like.new_zeros(batch, eye[:, k : k + rows].shape[1]))
        for model, found in followed(of, eye[:, k : k + rows], torch.add):
            if model.noise is not None:
                total.add(found, model.noise())
        parts.append(total.end())
    return torch.cat(parts, 1)


class _Contributions:
    """The sum over channels of rows² times variances, for many pairs of them.

    Pairs are joined along channels before they are multiplied: one product for many small ones.

    Args:
        total: to begin with, ``[B, R]``.
    """

    def __init__(self, total: Tensor) -> None:
        self._total, self._channels = total, 0
        self._waiting: dict[tuple[bool, int], list[tuple[Tensor, Tensor]]] = {}

    def add(self, rows: Tensor, noise: Tensor) -> None:
        """A pair: rows ``[B or 1, R, C]`` and variances ``[B, C]`` or ``[C]``."""
        # Only pairs whose axes are of the same kind can be joined.
        pairs = self._waiting.setdefault((rows.shape[0] == 1, noise.dim()), [])
        pairs.append((rows, noise))
        self._channels += rows.shape[2]
        if self._channels >= _JOINED:
            self._multiply()

    def end(self) -> Tensor:
        self._multiply()
        return self._total

    def _multiply(self) -> None:
        for pairs in self._waiting.values():
            rows, noise = (
                torch.cat(parts, -1) if len(parts) > 1 else parts[0] for parts in zip(*pairs, strict=True)
            )
            self._total = self._total + (rows.square() @ noise.unsqueeze(-1)).squeeze(-1)
        self._waiting, self._channels = {}, 0


def followed(of: Means, rows: Any, add: Callable[[Any, Any], Any]) -> Iterator[tuple[Means, Any]]:
    """Rows followed back from a model: it and all that it depends on, each with its rows.

    Args:
        of: the model.
        rows: of its channels; of a type that its functions take.
        add: the sum of two such rows.
    """
    waiting, found = [(-of.number, of)], {of.number: rows}
    while waiting:  # the newest first, so that all who depend on a model come before it
        _, model = heapq.heappop(waiting)
        rows = found.pop(model.number)
        yield model, rows
        for parent, back in model.parents:
            if parent.number in found:
                found[parent.number] = add(found[parent.number], back(rows))
            else:
                found[parent.number] = back(rows)
                heapq.heappush(waiting, (-parent.number, parent))


def independent(of: Spread) -> Means:
    """The model of a map whose positions are independent."""
    return Means((), of.alone, (of.alone,))


def scaled(of: Means, gain: float | Tensor) -> Means:
    """Each channel multiplied by ``gain``: a number, ``[C]`` or ``[B, C]``."""
    factor = gain.unsqueeze(-2) if isinstance(gain, Tensor) and gain.dim() == 2 else gain
    return Means([(of, lambda rows: rows * factor)])


def monotone(of: Means, before: Spread, after: Spread) -> Means:
    """After a monotone function of each entry or a max-pool: the correlation of positions is kept."""

    found: list[Tensor] = []

    def gain() -> Tensor:
        if not found:
            level = before.level()
            found.append(after.level() / level.clamp_min(torch.finfo(level.dtype).tiny))
        return found[0]

    def own() -> Tensor:
        return torch.addcmul(after.alone(), gain().square(), before.alone(), value=-1).clamp_min(0)

    return Means([(of, lambda rows: rows * gain().unsqueeze(-2))], own, (*before, *after))


def added(parts: Sequence[tuple[Means | None, float]], noise: Tensor | None = None) -> Means:
    """A sum of models with signs or factors, and the variance ``[C]`` of a Gaussian shift of each channel."""

    def times(factor: float) -> Back:
        return lambda rows: rows if factor == 1 else rows * factor

    parents = [(part, times(factor)) for part, factor in parts if part is not None]
    return Means(parents, None if noise is None else lambda: noise)


def window(of: Means, first: int, count: int, channels: int) -> Means:
    """``count`` channels from ``first`` on of a model with ``channels``; those that it does not have are constants."""
    low, high = max(first, 0), max(min(first + count, channels), first, 0)

    def back(rows: Tensor) -> Tensor:
        return pad(rows[:, :, low - first : high - first], (low, channels - high))

    return Means([(of, back)])


def joined(parts: Sequence[Means | None], sizes: Sequence[int]) -> Means:
    """Channels of several models one after the other; a part that is None is deterministic."""

    def slice_of(begin: int, end: int) -> Back:
        return lambda rows: rows[:, :, begin:end]

    ends = itertools.accumulate(sizes)
    parents = [
        (part, slice_of(end - size, end))
        for part, size, end in zip(parts, sizes, ends, strict=True)
        if part is not None
    ]
    return Means(parents)


def product(
    of: Means | None,
    weight: tuple[Dense, Dense | None],
    centre: Statistic,
    depth: Statistic | None,
    groups: int = 1,
    noise: Tensor | None = None,
    shares: Sequence[Sequence[float]] = (),
) -> Means:
    """After a convolution, or a linear map of vectors.

    Args:
        of: the model of its input; None: it is deterministic.
        weight: mean and variance of the weight; a variance of None is zero.
        centre: mean over positions of the input, ``[B, I]``.
        depth: level of the input, ``[B, I]``; None: it is deterministic.
        groups: of channels.
        noise: variance of its bias, ``[O]``.
        shares: of :func:`inside`; empty: all entries of the window are always inside.
    """
    gain, noisy = weight

    def own() -> Tensor:
        assert noisy is not None
        second = centre().square()
        if depth is not None:
            second = second + depth().square()
        variance = summed(noisy(), shares, 2)
        if groups == 1:
            total = second @ variance.T
        else:
            split = second.unflatten(1, (groups, -1)).unsqueeze(-1)
            total = (variance.unflatten(0, (groups, -1)) @ split).flatten(1)
        return total if noise is None else total + noise

    def back(rows: Tensor) -> Tensor:
        mean = summed(gain(), shares, 1)
        if groups == 1:
            return rows @ mean
        split = rows.unflatten(2, (groups, -1)).transpose(1, 2)  # [B, G, R, O / G]
        return (split @ mean.unflatten(0, (groups, -1))).transpose(1, 2).flatten(2)

    parents: list[tuple[Means, Back]] = [] if of is None else [(of, back)]
    if of is not None:
        of.settle(_KEPT)
    if noisy is None:
        return Means(parents, None if noise is None else lambda: noise)
    return Means(parents, own, (centre,) if depth is None else (centre, depth))


def summed(weight: Tensor, shares: Sequence[Sequence[float]], power: int) -> Tensor:
    """Σ_k f_k^power w_k over the window of a weight, ``[O, I / groups]``, with ``shares`` of :func:`inside`."""
    if weight.dim() == 2:
        return weight
    flat = weight.flatten(2)
    if all(one == 1 for share in shares for one in share):
        return flat.sum(2)
    return flat @ weight.new_tensor([math.prod(ones) ** power for ones in itertools.product(*shares)])


@functools.lru_cache(maxsize=512)
def inside(
    size: int,
    outputs: int,
    kernel: int,
    stride: int,
    padding: int,
    dilation: int,
    front: int = 0,
    behind: int = 0,
) -> tuple[float, ...]:
    """For each entry of a window along one axis, the share of outputs at which it reads the map and not zeros.

    Args:
        size: of the map.
        outputs: number of outputs.
        kernel, stride, padding, dilation: of the window.
        front, behind: zeros that are part of ``size``. Shares are then relative to the mean over all of the map.
    """
    starts = [place * stride - padding for place in range(outputs)]
    counts = [sum(front <= start + k * dilation < size - behind for start in starts) for k in range(kernel)]
    return tuple(count / outputs * (size / (size - front - behind)) for count in counts)
