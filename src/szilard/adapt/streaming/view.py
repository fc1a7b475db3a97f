"""The report of a stream: its figures as text, and the data of its plots."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from szilard.adapt.streaming import result as results
from szilard.adapt.streaming.contest import PERSISTENCE
from szilard.adapt.streaming.folder import StreamFolder
from szilard.adapt.streaming.result import Result
from szilard.adapt.streaming.scores import WINDOW
from szilard.adapt.streaming.stream import Stream
from szilard.errors import printable, shortened
from szilard.report import stream_page
from szilard.report.stream_page import StreamView
from szilard.report.stream_plots import StreamTrace

_LETTERS = 80


def page(stream: Stream, result: Result, folder: StreamFolder) -> str:
    """The page as HTML."""
    heads, rows, bold = _table(result)
    trace = stream.trace
    return stream_page.render(
        StreamView(
            title=f"{_named(result.target)} of {_named(result.data)}, row by row",
            name=_named(folder.path.name),
            summary=_summary(result),
            facts=_facts(result),
            notes=results.warnings(result),
            heads=heads,
            rows=rows,
            bold=bold,
            trace=StreamTrace(
                names=[str(one["name"]) for one in result.predictors],
                of_numbers=stream.layout.of_numbers,
                **trace.arrays(),
                changes=stream.log.last,
                block=trace.size,
                detects=stream.contest.learner.filter_.tracker.detects,
            ),
            settings=stream.settings.to_toml(),
        )
    )


def figure(value: float) -> str:
    """A loss or an error as text."""
    return f"{value:.3f}" if 0.01 <= abs(value) < 1000 or value == 0 else f"{value:.4g}"


def percent(value: float) -> str:
    """A share as text."""
    return f"{100 * value:.2f} %"


#: Figures of a table: key, heading, format, and whether more is better.
COLUMNS: tuple[tuple[str, str, Callable[[float], str], bool], ...] = (
    ("nll", "NLL ↓", figure, False),
    ("accuracy", "accuracy ↑", percent, True),
    ("rmse", "RMSE ↓", figure, False),
    ("mae", "MAE ↓", figure, False),
    ("nll_recent", "NLL ↓, recent", figure, False),
    ("accuracy_recent", "accuracy ↑, recent", percent, True),
    ("rmse_recent", "RMSE ↓, recent", figure, False),
)


def _table(result: Result) -> tuple[list[str], list[tuple[str, list[str]]], list[list[bool]]]:
    predictors = result.predictors
    shown = [column for column in COLUMNS if column[0] in predictors[0]]
    rows = [(str(one["name"]), [show(one[key]) for key, _, show, _ in shown]) for one in predictors]
    bold = [[False] * len(shown) for _ in predictors]
    for place, (key, _, _, more) in enumerate(shown):
        values = [one[key] for one in predictors]
        first = max(values) if more else min(values)
        if len(values) > 1 and values.count(first) == 1:
            bold[values.index(first)][place] = True
    heads = [head.replace("recent", f"last {min(WINDOW, result.scored):,} rows") for _, head, _, _ in shown]
    return heads, rows, bold


def _summary(result: Result) -> str:
    main = result.predictors[0]
    if "nll" not in main:
        return results.counted(result)
    copy = next((one for one in result.predictors if one["method"] == PERSISTENCE), None)
    key, what, show = ("rmse", "RMSE", figure) if result.of_numbers else ("accuracy", "accuracy", percent)

    def told(one: dict[str, Any]) -> str:
        return f"{what} {show(one[key])}, NLL {figure(one['nll'])} nats"

    name = str(main["name"])
    said = f"{name[0].upper()}{name[1:]}: {told(main)}. "
    if copy is not None:
        said += f"Copying the last {'number' if result.of_numbers else 'label'}: {told(copy)}. "
    return said + results.counted(result)


def _facts(result: Result) -> list[tuple[str, str]]:
    found = [("rows", f"{result.rows:,}"), ("scored", f"{result.scored:,}")]
    found += [("skipped", f"{result.skipped:,}")] if result.skipped else []
    found += [("without a target", f"{result.unlabelled:,}")] if result.unlabelled else []
    found += [("classes", f"{result.classes:,}")] if result.classes else []
    found += [("belief", result.belief)]
    if result.changes is not None:
        found.append(
            (
                "changes of the leading rate" if result.method == "bank" else "changes found",
                f"{result.changes:,}",
            )
        )
    return found


def _named(text: str) -> str:
    return printable(shortened(text, _LETTERS))
