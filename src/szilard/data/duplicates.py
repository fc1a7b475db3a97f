"""Rows of the test part that stand in the training part, too: figures of them say what was learnt by heart."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from hashlib import blake2b

import numpy as np
from torch import Tensor

from szilard.data.dataset import Split
from szilard.data.raw import Raw
from szilard.errors import SzilardWarning

_SHARE = 0.01  # of the test rows, above which a warning is due
_OFTEN = 3  # times as many as agree by chance, if all combinations of values were as likely
_ROWS = 4096  # of which a copy is in memory


def count(raw: Raw) -> int:
    """How many test examples stand in train with the same inputs and the same target."""
    known = set(_digests(raw.train))
    return sum(digest in known for digest in _digests(raw.test))


def warn(name: str, raw: Raw) -> None:
    """Warn where more than 1 % of the test examples stand in train, too.

    Where columns have so few values that rows must agree by chance (no more combinations than rows), or that as many
    would, nothing is said.
    """
    combinations = math.inf if raw.train.y.dim() > 2 else _combinations(raw)
    if raw.train.y.dim() > 2 or combinations <= len(raw.train) + len(raw.test):
        return
    twice, by_chance = count(raw), len(raw.test) * len(raw.train) / combinations
    if twice > max(_SHARE * len(raw.test), _OFTEN * by_chance):
        of = f"{twice:,} of {len(raw.test):,} test examples of {name}"
        advice = (
            "remove such rows, or keep them together with --group (in Python: group=)"
            if raw.reading is not None
            else "remove them from one of the two"
        )
        warnings.warn(
            f"{of} stand in the training part, too, with the same target, so that figures on test are too good if "
            f"they are copies; {advice}",
            SzilardWarning,
            stacklevel=2,
        )


def _combinations(raw: Raw) -> float:
    """How many different examples the values of the columns make, about."""
    if raw.train.x.dim() != 2:
        return math.inf
    columns = raw.train.x.numpy()
    groups: dict[int, list[int]] = {}
    for i, group in enumerate(raw.column_groups or range(columns.shape[1])):
        groups.setdefault(group, []).append(i)
    found = float(len(np.unique(raw.train.y.reshape(len(raw.train), -1).numpy(), axis=0)))
    for features in groups.values():
        values = [len(np.unique(columns[:, i])) for i in features]
        # The features of a category are 0/1, and one of them is 1 at most.
        found *= len(values) if max(values) == 2 and len(values) > 1 else math.prod(values)
    return found


def _digests(part: Split) -> Iterator[bytes]:
    """16 bytes an example; the chance that two examples of a billion agree in them is 10^-20."""
    for start in range(0, len(part), _ROWS):
        x, y = (
            some[start : start + _ROWS].reshape(len(part.x[start : start + _ROWS]), -1)
            for some in (part.x, part.y)
        )
        for row, answer in zip(_plain(x), _plain(y), strict=True):
            yield blake2b(row.tobytes() + answer.tobytes(), digest_size=16).digest()


def _plain(values: Tensor) -> np.ndarray:
    array = values.contiguous().numpy()
    return array + 0.0 if array.dtype.kind == "f" else array  # one zero, and not two
