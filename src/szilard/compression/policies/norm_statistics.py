"""BatchNorm statistics of a compressed network, relative to those of the original.

The statistics of a trained network are those of its training, with its augmentation, over many batches. Statistics of a
few hundred inputs differ from them for the original already: re-estimated from 5 000 training images, they cost the
published ResNet-20 of CIFAR-10 three points of accuracy. So only the change is taken from the inputs, between the
original and the compressed network on the same ones:

    mean = mean₀ + (m - m₀),        variance = variance₀ · v / v₀,

with m and v what the compressed network's norm sees on the inputs, m₀ and v₀ what the original's sees there, and mean₀
and variance₀ the original's statistics. For the original network nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from szilard.compression.channels.units import ChannelUnits
from szilard.compression.outputs import call
from szilard.networks.evaluating import evaluating

AT_ONCE = 1 << 22  # numbers of an input that are normalised together; 1 365 images of CIFAR
MOST = 4.0  # factor by which a variance changes at most, for channels that hardly vary on the inputs
_FLOOR = (
    1e-6  # variance on the inputs, as a share of the original's statistic, below which its ratio says nothing
)


@dataclass(frozen=True)
class Seen:
    """What the norms of the original see.

    Attributes:
        mean, variance: its statistics, by name of the norm, ``[channels]``.
        batches: for each batch of inputs, mean and variance of what each norm is given.
    """

    mean: Mapping[str, Tensor]
    variance: Mapping[str, Tensor]
    batches: Sequence[Mapping[str, tuple[Tensor, Tensor]]]


def batches_of(inputs: Tensor) -> list[Tensor]:
    """Inputs ``[N, ...]`` in batches as large as memory reasonably allows, of two or more."""
    size = max(2, AT_ONCE // max(1, inputs[:1].numel()))
    count = max(1, len(inputs) // size + bool(len(inputs) % size))
    return list(inputs.tensor_split(count))


@torch.no_grad()
def seen(network: nn.Module, inputs: Tensor) -> Seen:
    """Measure the norms of the original network on inputs ``[N, ...]``; it is not changed."""
    norms = _norms(network)
    found: list[dict[str, tuple[Tensor, Tensor]]] = []

    def look(name: str, x: Tensor) -> None:
        found[-1][name] = _moments(x)

    with evaluating(network), _Watching(norms, look):
        for x in batches_of(inputs) if norms else ():
            found.append({})
            call(network, x)
    return Seen(
        {name: norm.running_mean.clone() for name, norm in norms.items()},  # type: ignore[union-attr]
        {name: norm.running_var.clone() for name, norm in norms.items()},  # type: ignore[union-attr]
        found,
    )


@torch.no_grad()
def follow(small: nn.Module, before: Seen, rows: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
    """Give the norms of a compressed network the statistics of its activations.

    Each norm uses its new statistics at once, so that later ones see what they will see.

    Args:
        small: in eval mode; the statistics of its norms are changed.
        before: :func:`seen` of the original on the same inputs.
        rows: by name of a norm, the channels of the original that it kept; all if it is not there.
        inputs: ``[N, ...]``.

    Returns:
        outputs ``[N, ...]``; those of the network afterwards, if the inputs are one batch.
    """
    norms = {name: norm for name, norm in _norms(small).items() if name in before.mean}
    parts, outputs = batches_of(inputs), []
    found: list[dict[str, tuple[Tensor, Tensor]]] = []

    def change(name: str, x: Tensor) -> None:
        then, kept = before.batches[len(found) - 1], rows.get(name, slice(None))
        if name not in then:  # a norm that the original did not call
            return
        mean, variance = _moments(x)
        mean0, variance0 = (one[kept] for one in then[name])
        usual = before.variance[name][kept]
        ratio = (variance / variance0.clamp_min(1e-30)).clamp(1 / MOST, MOST)
        ratio = torch.where(variance0 > _FLOOR * usual, ratio, torch.ones_like(ratio))
        found[-1][name] = before.mean[name][kept] + (mean - mean0), usual * ratio
        _set(norms[name], *found[-1][name])

    with _Watching(norms, change):
        for x in parts:
            found.append({})
            outputs.append(call(small, x))
    shares = [len(x) / len(inputs) for x in parts]
    for name in found[0] if len(found) > 1 else ():
        pairs = [(share, batch[name]) for share, batch in zip(shares, found, strict=True)]
        mean, variance = (torch.stack([share * pair[i] for share, pair in pairs]).sum(0) for i in (0, 1))
        _set(norms[name], mean, variance)
    return torch.cat(outputs)


def _set(norm: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)


def gone_of(units: ChannelUnits, kept: Mapping[str, Sequence[int]]) -> set[int]:
    """Units that leave if these positions of some pools stay."""
    return {
        unit
        for name, places in kept.items()
        for unit in set(units.pools[name].units) - {units.pools[name].units[place] for place in places}
    }


def rows_of(units: ChannelUnits, kept: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """Channels that modules keep, by name, int64; modules that keep all are not in it.

    Args:
        units: of the original network.
        kept: positions of the units that stay, by pool.
    """
    gone = gone_of(units, kept)
    found = {}
    for name, one in units.cuts.items():
        stay = [place for place, unit in enumerate(one.outputs or ()) if unit not in gone]
        if one.outputs is not None and len(stay) < len(one.outputs):
            found[name] = torch.tensor(stay)
    return found


class _Watching:
    """Calls a function with the input of each norm before it runs."""

    def __init__(self, norms: Mapping[str, nn.Module], look: Callable[[str, Tensor], None]) -> None:
        self._norms, self._look, self._hooks = norms, look, list[Any]()

    def __enter__(self) -> None:
        for name, norm in self._norms.items():
            self._hooks.append(
                norm.register_forward_pre_hook(lambda _, given, name=name: self._look(name, given[0]))
            )

    def __exit__(self, *error: object) -> None:
        for hook in self._hooks:
            hook.remove()


def _norms(network: nn.Module) -> dict[str, _BatchNorm]:
    return {
        name: one
        for name, one in network.named_modules()
        if isinstance(one, _BatchNorm) and one.running_mean is not None and one.running_var is not None
    }


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel of ``[B, C, ...]``."""
    axes = [0, *range(2, x.dim())]
    variance, mean = torch.var_mean(x, axes, correction=0)
    return mean, variance
