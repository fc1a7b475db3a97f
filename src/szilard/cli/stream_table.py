"""The table of a stream: quality beside the controls."""

from __future__ import annotations

from szilard.adapt.streaming import Outcome
from szilard.adapt.streaming import result as results
from szilard.adapt.streaming.scores import WINDOW
from szilard.adapt.streaming.view import COLUMNS
from szilard.cli.table import Column, Table, say_wrapped
from szilard.cli.table import show as show_table
from szilard.errors import printable

_LETTERS = 60
_WORTH = {"nll_recent": 40, "accuracy_recent": 30, "rmse_recent": 30, "mae": 50}  # these are left out first


def show(outcome: Outcome, *, wide: bool) -> None:
    """Print figures of the method and its controls, which rows were scored, and what is worse than copying."""
    result = outcome.result
    predictors = result.predictors
    recent = f"last {min(WINDOW, result.scored):,}"
    columns = [Column(["method"], [str(one["name"]) for one in predictors], right=False)]
    for key, heading, shown, _ in COLUMNS:
        if key in predictors[0]:
            name, _, late = heading.partition(", ")
            unit = recent if late else "nats" if key == "nll" else ""
            cells = [shown(one[key]) for one in predictors]
            columns.append(Column([name, *([unit] if unit else [])], cells, worth=_WORTH.get(key)))
    speed = "" if outcome.rows_per_second is None else f"; {outcome.rows_per_second:,.0f} rows a second"
    title = printable(f"{result.target} of {result.data}: {result.rows:,} rows{speed}", 2 * _LETTERS)
    if len(columns) > 1:
        show_table(Table(columns, title=title, transposes=True, elsewhere="--wide shows them"), wide=wide)
    else:
        say_wrapped(title)
    say_wrapped(results.counted(result))
    for sentence in results.warnings(result):
        say_wrapped(sentence)
    if result.changes:
        where = printable(str(outcome.folder.changes), 200)
        times = "once" if result.changes == 1 else f"{result.changes:,} times"
        found = "1 change was" if result.changes == 1 else f"{result.changes:,} changes were"
        leads = f"The leading rate of forgetting changed {times}"
        say_wrapped(f"{leads if result.method == 'bank' else f'{found} found'}: {where}")
