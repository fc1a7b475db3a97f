"""Refuse a file before its first row is learned if the belief would become too large."""

from __future__ import annotations

from collections.abc import Iterable

from szilard.adapt.classifier import MOST_CLASSES
from szilard.adapt.features import MOST_VALUES
from szilard.adapt.filter import MOST_WEIGHTS
from szilard.adapt.streaming.contest import Contest
from szilard.adapt.streaming.rows import Rows
from szilard.errors import SzilardError, shortened


def check(contest: Contest, rows: Rows, classes: Iterable[str]) -> None:
    """Count features and classes that are known, and those of a file.

    Args:
        classes: that occurred before.

    Raises:
        SzilardError: too many.
    """
    known = set(contest.learner.names_.columns)
    texts = rows.texts()
    found = known | {(name, None) for name in rows.numbers()}
    found |= {(name, text) for name, values in texts.items() for text in values}
    for name in texts:
        values = sum(1 for other, _ in found if other == name)
        if values > MOST_VALUES:
            raise SzilardError(
                f"with {rows.table.path}, column {shortened(name, 60)!r} has {values:,} different texts, and at most "
                f"{MOST_VALUES} are turned into 0/1 columns; join rare ones in the file"
            )
    outputs = 1
    if not rows.layout.of_numbers:
        number = len({*classes, *(one for one in rows.targets if one is not None)})
        if number > MOST_CLASSES:
            raise SzilardError(
                f"the target of {rows.table.path} has {number:,} classes, and at most {MOST_CLASSES:,} are learned; is "
                "it a number? Then add --task regression (in Python: task=)"
            )
        outputs = max(1, number - 1)
    weights = outputs * (len(found) + 1)
    if contest.settings.belief == "full" and weights > MOST_WEIGHTS:
        raise SzilardError(
            f"{rows.table.path} has {len(found):,} features, texts and parts of dates counted, and {weights:,} "
            f"weights, too many for a full belief (at most {MOST_WEIGHTS}); add --belief diagonal, or leave columns "
            "out with --ignore (in Python: belief='diagonal' or ignore=[...])"
        )
