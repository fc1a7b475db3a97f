"""Splits without leakage: whole groups stay together, or the parts follow each other in time."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

from szilard.data.seeds import generator
from szilard.errors import SzilardError, SzilardWarning

_TOLERANCE = 0.4  # relative deviation of a part's size from the wanted size that gives no warning


def split_by_group(groups: list[str], fractions: tuple[float, ...], seed: int, what: str) -> list[Tensor]:
    """Like :func:`szilard.data.splits.split_indices`, with all examples of a group in one part.

    Greedy: each group, largest first, goes to the part that still needs the most examples. ``seed`` orders groups of
    equal size.

    Args:
        groups: the group of each of N examples.
        what: the column and the file, for messages.

    Raises:
        SzilardError: there are fewer groups than parts.
    """
    names, inverse, counts = np.unique(
        np.array(groups, dtype=object), return_inverse=True, return_counts=True
    )
    parts = 1 + len(fractions)
    if len(names) < parts:
        raise SzilardError(
            f"{what} has {len(names)} different values, too few groups for {parts} parts; choose another column"
        )
    order = torch.randperm(len(names), generator=generator("groups", seed)).numpy()
    order = order[np.argsort(-counts[order], kind="stable")]
    lacking = np.array([1 - sum(fractions), *fractions]) * len(groups)
    empty = np.ones(parts, dtype=bool)
    part_of = np.empty(len(names), dtype=np.int64)
    for place, group in enumerate(order.tolist()):
        must = empty.sum() == len(order) - place  # the last groups fill parts that are still empty
        part = int(np.argmax(np.where(empty, lacking, -np.inf))) if must else int(np.argmax(lacking))
        part_of[group] = part
        lacking[part] -= counts[group]
        empty[part] = False
    belongs = part_of[inverse]
    _warn_if_unequal(np.bincount(belongs, minlength=parts), fractions, what, len(names))
    return [torch.from_numpy((belongs == part).nonzero()[0]) for part in range(parts)]


def _warn_if_unequal(sizes: np.ndarray, fractions: tuple[float, ...], what: str, groups: int) -> None:
    """Warn if the sizes of the parts are far from the wanted ones, because groups are too few or too large."""
    shares = [1 - sum(fractions), *fractions]
    wanted = np.array(shares) * sizes.sum()
    if (abs(sizes - wanted) <= _TOLERANCE * wanted).all():
        return
    have, want = (
        ", ".join(text) for text in ([f"{n:,}" for n in sizes], [f"{100 * share:.0f}" for share in shares])
    )
    warnings.warn(
        f"{what} has {groups} groups, which cannot be split into {want} %: train, validation and test have {have} "
        "rows; a column with more or smaller groups would come closer",
        SzilardWarning,
        stacklevel=2,
    )


def split_by_time(when: np.ndarray, fractions: tuple[float, ...], what: str) -> list[Tensor]:
    """Like :func:`szilard.data.splits.split_indices`, in order of time: each part is later than the one before.

    Examples with the same time stay together, in the earlier part.

    Args:
        when: ``[N]`` time of each example.
        what: the column and the file, for messages.

    Raises:
        SzilardError: there are too few different times to give every part one.
    """
    n = len(when)
    order = np.argsort(when, kind="stable")
    sorted_ = when[order]
    left = 1 - sum(fractions)
    ends = []
    for share in np.cumsum([left, *fractions[:-1]]).tolist():
        last = sorted_[min(n - 1, max(0, round(n * share) - 1))]
        ends.append(int(np.searchsorted(sorted_, last, side="right")))
    pieces = np.split(order, ends)
    if any(len(piece) == 0 for piece in pieces):
        raise SzilardError(
            f"{what} has too few different times to put the first {left:.0%} of the examples before the others; "
            "choose another column"
        )
    return [torch.from_numpy(np.sort(piece)) for piece in pieces]
