"""What can be said of a network that was compressed without data: how far answers to random inputs part."""

from __future__ import annotations

import warnings

import torch
from torch import nn

from szilard.compress.curvature import Forward
from szilard.compress.guess import guess_inputs
from szilard.compress.posterior import is_posterior
from szilard.compress.probe import numbers
from szilard.errors import SzilardWarning

LARGE = 0.05  # relative


@torch.no_grad()
def parted(original: nn.Module, network: nn.Module, forward: Forward) -> float | None:
    """Root mean square of the differences of answers over the deviation of the original's from their mean.

    None if no guess runs.

    Args:
        original, network: in eval mode.
        forward: calls a network on one batch.
    """
    found: list[float] = []
    for x in guess_inputs(original)[:1]:  # the most usual layout of those that it takes
        for a, b in zip(numbers(forward(network, x)), numbers(forward(original, x)), strict=True):
            axes = 0 if b.dim() == 2 else tuple(range(b.dim()))  # outputs may have units of their own
            missed = (a.double() - b.double()).square().sum(axes)
            spread = (b.double() - b.double().mean(0)).square().sum(axes)
            size = torch.where(spread > 0, spread, b.double().square().sum(axes))
            found += (missed / size)[size > 0].sqrt().flatten().tolist()
    return max(found, default=None)


def told(original: nn.Module, network: nn.Module, forward: Forward) -> list[str]:
    """A note for the user, which is a warning, too, where answers differ a lot or cannot be compared.

    None of a network with a posterior: its σ tells what a weight may do.
    """
    if is_posterior(original):
        return []
    share = parted(original, network, forward)
    if share is None:
        text = "nobody judged, and no random inputs are known that the network takes: give calibration or evaluate"
    else:
        text = f"nobody judged; outputs on random inputs differ by {_percent(share)} (relative)"
        if share > LARGE:
            text += ": give calibration data, or a smaller lam"
    if share is None or not share <= LARGE:
        warnings.warn(text, SzilardWarning, stacklevel=3)
    return [text]


def _percent(share: float) -> str:
    """Two figures, without an exponent."""
    figures = 100 * share
    return f"{figures:.0f} %" if figures >= 10 else f"{figures:.2g} %"
