"""What can be said of a network that was compressed without data: how far answers to random inputs part."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from szilard.compression.curvature import Forward
from szilard.compression.guess import guess_inputs
from szilard.compression.imagined_inputs import placed
from szilard.compression.own_units import NOTE, OwnUnits, own_units
from szilard.compression.passes.posterior import is_posterior
from szilard.compression.probe import numbers
from szilard.errors import SzilardWarning

LARGE = 0.05  # relative
FEW = 16  # columns of an answer that may have units of their own


@torch.no_grad()
def parted(
    original: nn.Module, network: nn.Module, forward: Forward, units: OwnUnits | None = None
) -> float | None:
    """Root mean square of the differences of answers over the deviation of the original's from their mean.

    Columns of an answer ``[B, k]`` may have units of their own: it is that of the worst of a few. Among the many of a
    vector, such as an embedding behind a rectifier, some hardly move, which tells nothing of the vector: there it is
    that of the vector, or of the median column if that is more. None if no guess runs.

    Args:
        original, network: in eval mode.
        forward: calls a network on one batch.
        units: of the inputs, where they have their own.
    """
    found: list[float] = []
    for guess in guess_inputs(original)[:1]:  # the most usual layout of those that it takes
        x = placed(original, guess if units is None else units.of(guess), forward)
        for a, b in zip(numbers(forward(network, x)), numbers(forward(original, x)), strict=True):
            every = tuple(range(b.dim()))
            if b.dim() != 2:
                found += _shares(a, b, every)
            elif b.shape[1] <= FEW:
                found += _shares(a, b, (0,))
            else:
                columns = sorted(_shares(a, b, (0,)))
                found += [*_shares(a, b, every), *columns[len(columns) // 2 :][:1]]
    return max(found, default=None)


def _shares(a: Tensor, b: Tensor, axes: tuple[int, ...]) -> list[float]:
    """Relative differences of ``a`` from ``b``, summed over axes; none of what is zero."""
    missed = (a.double() - b.double()).square().sum(axes)
    spread = (b.double() - b.double().mean(0)).square().sum(axes)
    size = torch.where(spread > 0, spread, b.double().square().sum(axes))
    shares: list[float] = (missed / size)[size > 0].sqrt().flatten().tolist()
    return shares


def told(original: nn.Module, network: nn.Module, forward: Forward) -> list[str]:
    """A note for the user, which is a warning, too, where answers differ a lot or cannot be compared.

    None of a network with a posterior: its σ tells what a weight may do.
    """
    if is_posterior(original):
        return []
    units = own_units(original)
    share = parted(original, network, forward, units)
    if share is None:
        text = "nobody judged, and no random inputs are known that the network takes: give calibration or evaluate"
    else:
        text = f"nobody judged; outputs on random inputs differ by {_percent(share)} (relative)"
        if share > LARGE:
            text += ": give calibration data, or a smaller lam"
    if share is None or not share <= LARGE:
        warnings.warn(text, SzilardWarning, stacklevel=3)
    return [text, NOTE] if units else [text]


def _percent(share: float) -> str:
    """Two figures, without an exponent."""
    figures = 100 * share
    return f"{figures:.0f} %" if figures >= 10 else f"{figures:.2g} %"
