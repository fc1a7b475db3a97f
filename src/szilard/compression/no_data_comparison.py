"""Compare a network that was compressed without data with its original, by outputs for random inputs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from szilard.compression.imagined_inputs import placed
from szilard.compression.other_outputs import numeric_outputs
from szilard.compression.outputs import Path, output_name, tensors
from szilard.compression.passes.posterior import is_posterior
from szilard.compression.random_inputs import random_inputs
from szilard.compression.raw_units import RawUnits, raw_units
from szilard.errors import SzilardWarning

Outputs = Callable[[nn.Module, Any], Any]
LARGE = 0.05  # relative difference above which a warning is given
FEW = 16  # outputs with at most this many columns can have a different unit in each


@torch.no_grad()
def relative_difference(
    original: nn.Module, network: nn.Module, forward: Outputs, units: RawUnits | None = None
) -> float | None:
    """Root mean square of the differences of outputs, relative to the deviation of the original's from their mean.

    Columns of an output ``[B, k]`` can have different units: if they are few, the worst column counts. In a vector with
    many columns, such as an embedding after a rectifier, some are nearly constant. There the difference of the whole
    vector counts, or of the median column if that is larger. None if no random input runs.

    Args:
        original, network: in eval mode.
        forward: calls a network on one batch, and returns all outputs.
        units: of the inputs, if they are raw.
    """
    return max((share for _, share in by_output(original, network, forward, units)), default=None)


@torch.no_grad()
def by_output(
    original: nn.Module, network: nn.Module, forward: Outputs, units: RawUnits | None = None
) -> list[tuple[str, float]]:
    """The same for each output, with its name; the name is empty if the network returns a tensor."""
    found: list[tuple[str, float]] = []
    for guess in random_inputs(original)[:1]:  # the most common layout that it takes
        x = placed(original, guess if units is None else units.of(guess), forward)
        ours, theirs = (_outputs(forward(net, x)) for net in (network, original))
        for path, b in theirs.items():
            name = output_name(path) if path else ""
            found += [(name, share) for share in _parted(ours[path], b)]
    return found


def _outputs(output: Any) -> dict[Path, Tensor]:
    return dict(numeric_outputs(output) or tensors(output))


def _parted(a: Tensor, b: Tensor) -> list[float]:
    every = tuple(range(b.dim()))
    if b.dim() != 2:
        return _shares(a, b, every)
    if b.shape[1] <= FEW:
        return _shares(a, b, (0,))
    columns = sorted(_shares(a, b, (0,)))
    return [*_shares(a, b, every), *columns[len(columns) // 2 :][:1]]


def _shares(a: Tensor, b: Tensor, axes: tuple[int, ...]) -> list[float]:
    """Relative differences of ``a`` from ``b``, summed over axes; parts of ``b`` that are zero are left out."""
    missed = (a.double() - b.double()).square().sum(axes)
    spread = (b.double() - b.double().mean(0)).square().sum(axes)
    size = torch.where(spread > 0, spread, b.double().square().sum(axes))
    shares: list[float] = (missed / size)[size > 0].sqrt().flatten().tolist()
    return shares


def unjudged_notes(original: nn.Module, network: nn.Module, forward: Outputs) -> list[str]:
    """Notes for the user, and a warning if outputs differ much or cannot be compared.

    No notes for a network with a posterior, because its σ determines the precision of each weight.
    """
    if is_posterior(original):
        return []
    units = raw_units(original)
    found = by_output(original, network, forward, units)
    name, share = max(found, key=lambda one: one[1], default=("", None))
    if share is None:
        text = "nothing was judged, and no random inputs are known that the network takes: give calibration or evaluate"
    else:
        text = f"nothing was judged; outputs on random inputs differ by {_percent(share)} (relative)"
        if len({one for one, _ in found}) > 1:
            text += f", most in the output {name}"
        if share > LARGE:
            text += ": give calibration data, or a smaller lam"
    if share is None or not share <= LARGE:
        warnings.warn(text, SzilardWarning, stacklevel=3)
    if units.by_norm:
        warnings.warn(units.note, SzilardWarning, stacklevel=3)
    return [text, units.note] if units else [text]


def _percent(share: float) -> str:
    """A percentage with two significant digits, without an exponent."""
    figures = 100 * share
    return f"{figures:.0f} %" if figures >= 10 else f"{figures:.2g} %"
