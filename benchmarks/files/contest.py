"""The rows of a comparison of files: how each contestant's file is chosen, and its reported figures.

The rule is the same for all: the smallest file whose drop on the selection images is at most the limit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from files.choose import smallest_good
from files.judge import Entry, Judge, Verdict

#: Percentage points of accuracy.
MAX_DROP = 0.5
#: Percentage points of agreement: about 5 % of the predictions change when ResNet-20 loses 0.5 points of accuracy.
MAX_DISAGREEMENT = 5.0
MARGIN = {"accuracy": 3.0, "agreement": 10.0}


@dataclass(frozen=True)
class Row:
    """One file in a table.

    Attributes:
        name: contestant and its configuration.
        options: arguments of the contestant.
        chosen_drop: drop on the selection images, percentage points.
        score, drop, drop_error: score in percent, drop and its standard error in percentage points, on the test images.
        p_value: McNemar's test against the original network.
        write_seconds, read_seconds: times to write and to read the file.
        candidates: number of files from which it was chosen.
    """

    name: str
    options: dict[str, Any]
    n_bytes: int
    chosen_drop: float
    score: float
    drop: float
    drop_error: float
    p_value: float
    write_seconds: float
    read_seconds: float
    candidates: int = 1

    def to_json(self) -> dict[str, Any]:
        return {k: round(v, 4) if isinstance(v, float) else v for k, v in asdict(self).items()}


def limit(judge: Judge) -> float:
    """Largest drop that a file may have, percentage points."""
    return MAX_DROP if judge.case.measure == "accuracy" else MAX_DISAGREEMENT


def row_of(name: str, judge: Judge, entry: Entry, candidates: int = 1) -> Row:
    """The row of one file."""
    found: Verdict = judge.verdict(entry)
    return Row(
        name,
        entry.options,
        found.n_bytes,
        judge.chosen_drop(entry),
        found.score,
        found.drop,
        found.drop_error,
        found.p_value,
        found.write_seconds,
        found.read_seconds,
        candidates,
    )


def chosen(
    name: str, judge: Judge, entries: Sequence[Entry], progress: Callable[[str], None] = lambda text: None
) -> Row | None:
    """The row of the smallest file within the limit, or None if there is none."""
    sizes = [judge.n_bytes(entry) for entry in entries]
    progress(f"{name}: {len(entries)} files")

    def drop(index: int, images: int | None) -> float:
        found = judge.chosen_drop(entries[index], images)
        progress(f"{name}: {sizes[index]:,} bytes lose {found:.2f} points {entries[index].options}")
        return found

    index = smallest_good(sizes, drop, limit(judge), margin=MARGIN[judge.case.measure])
    return None if index is None else row_of(name, judge, entries[index], len(entries))


COLUMNS = [
    "",
    "bytes",
    "/ tuned NNCodec",
    "score %",
    "drop",
    "± se",
    "drop where chosen",
    "write s",
    "read s",
]


def body(rows: Sequence[dict[str, Any]], reference: str) -> list[list[str]]:
    """Rows of the table, under COLUMNS; sizes are divided by that of the row named ``reference``."""
    base = next((row["n_bytes"] for row in rows if row["name"] == reference), None)
    return [
        [
            row["name"],
            f"{row['n_bytes']:,}",
            f"{row['n_bytes'] / base:.3f}" if base else "",
            f"{row['score']:.2f}",
            f"{row['drop']:.2f}",
            f"{row['drop_error']:.2f}",
            f"{row['chosen_drop']:.2f}",
            f"{row['write_seconds']:.1f}",
            f"{row['read_seconds']:.2f}",
        ]
        for row in rows
    ]
