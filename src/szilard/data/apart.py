"""Parts that do not leak: whole groups, or the past before the future."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

from szilard.data.seeds import generator
from szilard.errors import SzilardError, SzilardWarning

_FAR = 0.4  # of its size, by which a part may miss it without a word


def carve_groups(groups: list[str], fractions: tuple[float, ...], seed: int, what: str) -> list[Tensor]:
    """As :func:`szilard.data.splits.carve`, with all examples of a group in one part.

    Groups go, the largest first, to the part that lacks most; those of one size in an order by ``seed``.

    Args:
        groups: the group of each of N examples.
        what: the column and the file, for the message.

    Raises:
        SzilardError: fewer groups than parts.
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
        must = empty.sum() == len(order) - place  # the last groups go where there is none yet
        part = int(np.argmax(np.where(empty, lacking, -np.inf))) if must else int(np.argmax(lacking))
        part_of[group] = part
        lacking[part] -= counts[group]
        empty[part] = False
    belongs = part_of[inverse]
    _warn_if_unequal(np.bincount(belongs, minlength=parts), fractions, what, len(names))
    return [torch.from_numpy((belongs == part).nonzero()[0]) for part in range(parts)]


def _warn_if_unequal(sizes: np.ndarray, fractions: tuple[float, ...], what: str, groups: int) -> None:
    """Warn where groups are so few or so large that the parts are far from what was wanted."""
    shares = [1 - sum(fractions), *fractions]
    wanted = np.array(shares) * sizes.sum()
    if (abs(sizes - wanted) <= _FAR * wanted).all():
        return
    have, want = (
        ", ".join(text) for text in ([f"{n:,}" for n in sizes], [f"{100 * share:.0f}" for share in shares])
    )
    warnings.warn(
        f"{what} has {groups} groups, which cannot be divided into {want} %: train, valid and test have {have} rows; a "
        "column with more or smaller groups would be nearer",
        SzilardWarning,
        stacklevel=2,
    )


def carve_time(when: np.ndarray, fractions: tuple[float, ...], what: str) -> list[Tensor]:
    """As :func:`szilard.data.splits.carve`, in order of time: each part lies after the one before.

    Examples of one time stay together, in the earlier part.

    Args:
        when: ``[N]`` time of each example.
        what: the column and the file, for the message.

    Raises:
        SzilardError: too few different times for every part to have some.
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
