"""What can be said of a network that was compressed without data: how far answers to random inputs part."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from szilard.compression.answers import Path, named, tensors
from szilard.compression.guess import guess_inputs
from szilard.compression.imagined_inputs import placed
from szilard.compression.others import answered
from szilard.compression.own_units import OwnUnits, own_units
from szilard.compression.passes.posterior import is_posterior
from szilard.errors import SzilardWarning

Outputs = Callable[[nn.Module, Any], Any]
LARGE = 0.05  # relative
FEW = 16  # columns of an answer that may have units of their own


@torch.no_grad()
def parted(
    original: nn.Module, network: nn.Module, forward: Outputs, units: OwnUnits | None = None
) -> float | None:
    """Root mean square of the differences of answers over the deviation of the original's from their mean.

    Columns of an answer ``[B, k]`` may have units of their own: it is that of the worst of a few. Among the many of a
    vector, such as an embedding behind a rectifier, some hardly move, which tells nothing of the vector: there it is
    that of the vector, or of the median column if that is more. None if no guess runs.

    Args:
        original, network: in eval mode.
        forward: calls a network on one batch, and gives all that it answers.
        units: of the inputs, where they have their own.
    """
    return max((share for _, share in by_output(original, network, forward, units)), default=None)


@torch.no_grad()
def by_output(
    original: nn.Module, network: nn.Module, forward: Outputs, units: OwnUnits | None = None
) -> list[tuple[str, float]]:
    """The same of each output, with its name; that is empty where the network answers a tensor."""
    found: list[tuple[str, float]] = []
    for guess in guess_inputs(original)[:1]:  # the most usual layout of those that it takes
        x = placed(original, guess if units is None else units.of(guess), forward)
        ours, theirs = (_answers(forward(net, x)) for net in (network, original))
        for path, b in theirs.items():
            name = named(path) if path else ""
            found += [(name, share) for share in _parted(ours[path], b)]
    return found


def _answers(output: Any) -> dict[Path, Tensor]:
    return dict(answered(output) or tensors(output))


def _parted(a: Tensor, b: Tensor) -> list[float]:
    every = tuple(range(b.dim()))
    if b.dim() != 2:
        return _shares(a, b, every)
    if b.shape[1] <= FEW:
        return _shares(a, b, (0,))
    columns = sorted(_shares(a, b, (0,)))
    return [*_shares(a, b, every), *columns[len(columns) // 2 :][:1]]


def _shares(a: Tensor, b: Tensor, axes: tuple[int, ...]) -> list[float]:
    """Relative differences of ``a`` from ``b``, summed over axes; none of what is zero."""
    missed = (a.double() - b.double()).square().sum(axes)
    spread = (b.double() - b.double().mean(0)).square().sum(axes)
    size = torch.where(spread > 0, spread, b.double().square().sum(axes))
    shares: list[float] = (missed / size)[size > 0].sqrt().flatten().tolist()
    return shares


def told(original: nn.Module, network: nn.Module, forward: Outputs) -> list[str]:
    """A note for the user, which is a warning, too, where answers differ a lot or cannot be compared.

    None of a network with a posterior: its σ tells what a weight may do.
    """
    if is_posterior(original):
        return []
    units = own_units(original)
    found = by_output(original, network, forward, units)
    name, share = max(found, key=lambda one: one[1], default=("", None))
    if share is None:
        text = "nobody judged, and no random inputs are known that the network takes: give calibration or evaluate"
    else:
        text = f"nobody judged; outputs on random inputs differ by {_percent(share)} (relative)"
        if len({one for one, _ in found}) > 1:
            text += f", most of all in the output {name}"
        if share > LARGE:
            text += ": give calibration data, or a smaller lam"
    if share is None or not share <= LARGE:
        warnings.warn(text, SzilardWarning, stacklevel=3)
    if units.by_norm:
        warnings.warn(units.note, SzilardWarning, stacklevel=3)
    return [text, units.note] if units else [text]


def _percent(share: float) -> str:
    """Two figures, without an exponent."""
    figures = 100 * share
    return f"{figures:.0f} %" if figures >= 10 else f"{figures:.2g} %"
