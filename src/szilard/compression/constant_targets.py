"""Constant targets, for which R² is not defined."""

from __future__ import annotations

from torch import Tensor

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
