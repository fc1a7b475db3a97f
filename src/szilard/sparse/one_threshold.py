"""Which entries one threshold over all weights of a network keeps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from szilard.errors import SzilardError


def largest_of_all(scores: Sequence[Tensor], total: int, least: int = 1) -> list[Tensor]:
    """Which entries one threshold over all weights keeps: exactly ``total``, at least ``least`` of each weight.

    Args:
        scores: of the entries of each weight, ``[nnz]``; the largest are kept. Of equal scores those of the first
            weight, and in a weight those of the lowest index, come first.
        total: entries to keep.
        least: of each weight, or all of it if it has fewer.

    Returns:
        bool ``[nnz]`` for each weight.

    Raises:
        SzilardError: more entries than there are, or fewer than the least number in each weight.
    """
    floors = [min(least, len(score)) for score in scores]
    if not sum(floors) <= total <= sum(len(score) for score in scores):
        raise SzilardError(
            f"{total:,} entries cannot be kept of {sum(len(score) for score in scores):,} in {len(scores)} weights "
            f"with at least {least:,} each; choose another density"
        )
    joined = torch.cat([score.detach().float().flatten() for score in scores])
    if torch.isnan(joined).any():
        raise SzilardError(
            "a score of an entry is NaN: inputs or targets hold NaN, or training has diverged; check the batches, and "
            "lower lr if they hold no NaN"
        )
    kept = torch.zeros(len(joined), dtype=torch.bool, device=joined.device)
    start = 0
    for score, floor in zip(scores, floors, strict=True):  # the floor of each weight first
        part = joined[start : start + len(score)]
        kept[start + part.sort(descending=True, stable=True).indices[:floor]] = True
        start += len(score)
    order = joined.masked_fill(kept, torch.inf).sort(descending=True, stable=True).indices
    kept[order[:total]] = True
    return list(kept.split([len(score) for score in scores]))
