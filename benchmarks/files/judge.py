"""Size and accuracy of files of one network; results are stored."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from common.measured import Measured
from files.accuracy import drop_error, mcnemar, pack, right, unpack
from files.coded import Coded, digest
from files.pretrained import Case


@dataclass(frozen=True)
class Entry:
    """One file of one contestant: ``make`` writes and reads it; ``options`` identify it within the contestant."""

    contestant: str
    options: dict[str, Any]
    make: Callable[[], Coded] = field(compare=False)


@dataclass(frozen=True)
class Verdict:
    """Result of a file on the test images: ``score`` in percent, ``drop`` in percentage points."""

    entry: Entry
    n_bytes: int
    score: float
    drop: float
    drop_error: float
    p_value: float  # McNemar's test against the original network
    right: np.ndarray
    write_seconds: float
    read_seconds: float


class Judge:
    """Measures entries on the images of a case.

    Args:
        case: the network and its images.
        measured: storage of results; the keys are network, images and options.
    """

    def __init__(self, case: Case, measured: Measured) -> None:
        self.case = case
        self._measured = measured
        self._network = copy.deepcopy(case.network)
        self._digest = digest(case.network.state_dict())
        self._last: tuple[Entry, Coded] | None = None

    def coded(self, entry: Entry) -> Coded:
        """The file; the last one is cached."""
        if self._last is None or self._last[0] is not entry:
            self._last = (entry, entry.make())
        return self._last[1]

    def n_bytes(self, entry: Entry) -> int:
        """Length of the whole file, bytes."""
        return int(self.size(entry)["bytes"])

    def size(self, entry: Entry) -> dict[str, float]:
        """Length in bytes, and the seconds of writing and reading."""

        def weigh() -> dict[str, float]:
            coded = self.coded(entry)
            return {
                "bytes": coded.n_bytes,
                "write_seconds": round(coded.write_seconds, 3),
                "read_seconds": round(coded.read_seconds, 3),
            }

        return self._measured.get(self._key(entry, "size"), weigh)

    def chosen_drop(self, entry: Entry | None, limit: int | None = None) -> float:
        """Drop on (the first ``limit`` of) the selection images, percentage points."""
        before = self._right(None, "choose")[:limit]
        after = before if entry is None else self._right(entry, "choose", limit)
        return 100 * float(before.mean() - after.mean())

    def verdict(self, entry: Entry) -> Verdict:
        """Result of the file on all test images."""
        before, after = self._right(None, "report"), self._right(entry, "report")
        size = self.size(entry)
        return Verdict(
            entry,
            int(size["bytes"]),
            100 * float(after.mean()),
            100 * float(before.mean() - after.mean()),
            drop_error(before, after),
            mcnemar(before, after),
            after,
            size["write_seconds"],
            size["read_seconds"],
        )

    def baseline(self) -> float:
        """Score of the original network on the test images, percent."""
        return 100 * float(self._right(None, "report").mean())

    def _right(self, entry: Entry | None, role: str, limit: int | None = None) -> np.ndarray:
        """Which images are classified correctly, bool ``[N]``; without an entry, by the original network."""
        images = getattr(self.case, role)
        n = len(images.y) if limit is None else min(limit, len(images.y))

        def look() -> str:
            state = self.case.network.state_dict() if entry is None else self.coded(entry).state
            self._network.load_state_dict(state, strict=True)
            return pack(right(self._network, images, n))

        key = self._key(entry, "right") | {"pictures": images.name, "n": n}
        return unpack(self._measured.get(key, look), n)

    def _key(self, entry: Entry | None, what: str) -> dict[str, Any]:
        named = {"contestant": entry.contestant, "options": entry.options} if entry else {"contestant": None}
        return {"network": self._digest, "what": what, **named}
