"""Targets that never change, of which no R² is defined."""

from __future__ import annotations

from torch import Tensor

from szilard.errors import SzilardError
from szilard.likelihood import Gaussian, Likelihood, NoisyGaussian

SHOWN = 3  # that are named


def checked(likelihood: Likelihood, labels: Tensor) -> str:
    """A sentence that names the targets which the score leaves out, or nothing.

    Args:
        likelihood: by which labels judge.
        labels: ``[N, ...]`` of the judging examples.

    Raises:
        SzilardError: no target changes.
    """
    if not isinstance(likelihood, Gaussian | NoisyGaussian) or len(labels) < 2:
        return ""
    if bool((labels == labels[:1]).all()):
        raise SzilardError(
            f"every one of the {len(labels):,} judging examples has the same targets, of which no R² is defined: give "
            "labels that differ, or none, so that agreement with the original judges, or evaluate"
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
    return (
        f"target{'s' if len(left) > 1 else ''} {shown}{more} of {likelihood.counts.numel()} (the first is 0) {are} the "
        f"same in all {len(labels):,} judging examples, so that no R² is defined: {they} left out of the score, and "
        "nobody judges them; give evaluate, or examples in which they change"
    )
