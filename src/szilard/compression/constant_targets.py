"""Constant targets, for which R² is not defined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from szilard.errors import SzilardError
from szilard.likelihood import Gaussian, Likelihood, NoisyGaussian

SHOWN = 3  # targets that are named


def checked(likelihood: Likelihood, labels: Tensor) -> str:
    """A sentence that names the targets that the score leaves out, or "".

    Args:
        likelihood: of the outputs, given the labels.
        labels: ``[N, ...]`` of the judging examples.

    Raises:
        SzilardError: all targets are constant.
    """
    if not isinstance(likelihood, Gaussian | NoisyGaussian) or len(labels) < 2:
        return ""
    if bool((labels == labels[:1]).all()):
        raise SzilardError(
            f"all {len(labels):,} judging examples have the same targets, for which R² is not defined: give labels "
            "that differ, or no labels, to judge by agreement with the original, or evaluate"
        )
    if likelihood.counts is None:
        return ""
    left = (~likelihood.counts).flatten().nonzero().flatten().tolist()
    shown = ", ".join(
        f"{place} (always {float(labels[0, place]):.6g})" if labels.dim() == 2 else str(place)
        for place in left[:SHOWN]
    )
    more = f" and {len(left) - SHOWN} more" if len(left) > SHOWN else ""
    are, they = ("is", "it is") if len(left) == 1 else ("are", "they are")
    them = "it" if len(left) == 1 else "them"
    return (
        f"target{'s' if len(left) > 1 else ''} {shown}{more} of {likelihood.counts.numel()} (the first is 0) {are} the "
        f"same in all {len(labels):,} judging examples, so R² is not defined: {they} left out of the score and not "
        f"judged; to judge {them}, give evaluate, or examples with different values"
    )


@torch.no_grad()
def changes(
    likelihood: Likelihood,
    forward: Callable[[nn.Module, Any], Tensor],
    inputs: Sequence[Any],
    original: nn.Module,
    compressed: nn.Module,
) -> str:
    """A sentence with the size of the change of the outputs that the score leaves out, or "".

    Args:
        likelihood: of the outputs, given the labels.
        forward: calls a network on one of ``inputs``; outputs are ``[B, k]``.
    """
    counts = likelihood.counts if isinstance(likelihood, Gaussian | NoisyGaussian) else None
    if counts is None or counts.dim() != 1:
        return ""
    left = (~counts).nonzero().flatten()
    sizes = []
    for x in inputs:
        before, after = forward(original, x), forward(compressed, x)
        if before.dim() != 2 or before.shape[1] < len(counts):
            return ""
        sizes.append((after.double() - before.double()).abs().cpu()[:, left])
    size = torch.cat(sizes)
    worst = int(size.mean(0).argmax())
    return (
        f"the output for target {int(left[worst])}, which is left out of the score, changed by "
        f"{float(size[:, worst].mean()):.3g} on average and by at most {float(size[:, worst].max()):.3g}"
    )
