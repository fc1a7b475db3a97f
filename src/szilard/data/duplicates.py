"""Find test examples that are also in the training part: metrics on them measure memorisation."""

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

_SHARE = 0.01  # share of the test examples above which a warning is given
_CHANCE_FACTOR = (
    3  # and this many times the number expected by chance, if all combinations of values are equally likely
)
_ROWS = 4096  # examples hashed at once


def count(raw: Raw) -> int:
    """Number of test examples that are in train with the same inputs and the same target."""
    known = set(_digests(raw.train))
    return sum(digest in known for digest in _digests(raw.test))


def warn(name: str, raw: Raw) -> None:
    """Warn if more than 1 % of the test examples are also in train.

    There is no warning if chance explains the number: if the columns have no more combinations of values than there
    are rows, or if about as many duplicates are expected.
    """
    combinations = math.inf if raw.train.y.dim() > 2 else _combinations(raw)
    if raw.train.y.dim() > 2 or combinations <= len(raw.train) + len(raw.test):
        return
    twice, by_chance = count(raw), len(raw.test) * len(raw.train) / combinations
    if twice > max(_SHARE * len(raw.test), _CHANCE_FACTOR * by_chance):
        of = f"{twice:,} of {len(raw.test):,} test examples of {name}"
        advice = (
            "remove such rows, or keep them together with --group (in Python: group=)"
            if raw.reading is not None
            else "remove them from one of the two"
        )
        warnings.warn(
            f"{of} are also in the training part, with the same target; if they are copies, test metrics are too "
            f"good; {advice}",
            SzilardWarning,
            stacklevel=2,
        )


def _combinations(raw: Raw) -> float:
    """Approximate number of different examples that the values of the columns can form."""
    if raw.train.x.dim() != 2:
        return math.inf
    columns = raw.train.x.numpy()
    groups: dict[int, list[int]] = {}
    for i, group in enumerate(raw.column_groups or range(columns.shape[1])):
        groups.setdefault(group, []).append(i)
    found = float(len(np.unique(raw.train.y.reshape(len(raw.train), -1).numpy(), axis=0)))
    for features in groups.values():
        values = [len(np.unique(columns[:, i])) for i in features]
        # The features of a category are 0/1, and at most one of them is 1.
        found *= len(values) if max(values) == 2 and len(values) > 1 else math.prod(values)
    return found


def _digests(part: Split) -> Iterator[bytes]:
    """A 16-byte hash of each example; the chance of any collision among a billion examples is about 10^-21."""
    for start in range(0, len(part), _ROWS):
        x, y = (
            some[start : start + _ROWS].reshape(len(part.x[start : start + _ROWS]), -1)
            for some in (part.x, part.y)
        )
        for row, answer in zip(_plain(x), _plain(y), strict=True):
            yield blake2b(row.tobytes() + answer.tobytes(), digest_size=16).digest()


def _plain(values: Tensor) -> np.ndarray:
    array = values.contiguous().numpy()
    return array + 0.0 if array.dtype.kind == "f" else array  # -0.0 becomes 0.0
