"""Tables of ``szilard measure --one-pass``: quality and time of each way to predict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from szilard.cli import output
from szilard.cli.figures import LETTERS, QUALITY
from szilard.cli.table import Column, Table
from szilard.cli.table import show as show_table
from szilard.errors import printable
from szilard.methods.one_pass import RatioToDraws
from szilard.report.figure_names import seconds
from szilard.report.one_pass_section import geometric_ratio, name_of

_SHOWN = ("accuracy", "accuracy_by_label", "rmse", "r2", "nll", "auroc_best")


def show(rows: Sequence[Mapping[str, Any]], *, wide: bool = False) -> None:
    """Print a table for every row that has ``one_pass``."""
    for table in tables(rows):
        output.say("")
        show_table(table, wide=wide)


def tables(rows: Sequence[Mapping[str, Any]]) -> list[Table]:
    """The tables that :func:`show` prints."""
    return [_table(row) for row in rows if "one_pass" in row]


def _table(row: Mapping[str, Any]) -> Table:
    found = row["one_pass"]
    ways, time = found["predictions"], found["time"]
    columns = [Column(["prediction"], [name_of(way) for way in ways], right=False)]
    for key in _SHOWN:
        figure, values = QUALITY[key], [way["quality"].get(key) for way in ways]
        if any(value is not None for value in values):
            heading = [line for line in (figure.heading, figure.unit) if line]
            cells = ["-" if value is None else figure.show(value) for value in values]
            columns.append(Column(heading, cells, worth=figure.worth))
    notes = []
    if time is not None:
        cells = ["-" if way["seconds"] is None else seconds(way["seconds"]) for way in ways]
        columns.append(Column(["time"], cells, worth=95))
        threads = f"{time['threads']} thread{'' if time['threads'] == 1 else 's'}"
        notes.append(f"Times: of a call, batch {time['batch']}, {time['runtime']}, {threads}.")
        if "-" in cells:
            notes.append("Draws that take more than 1 s a call are not timed.")
        if time["noise"]:
            notes.append(f"The machine was too noisy for these times: {' and '.join(time['noise'])}.")
    pairs = found["deviations"]
    if pairs["moments"]:
        notes.append(
            f"Standard deviations of outputs: one pass / {pairs['draws']} draws = {geometric_ratio(pairs):.2f} "
            f"(geometric mean over {len(pairs['moments'])} outputs)."
        )
    if found.get("epistemic_ratio") is not None:
        ratio = RatioToDraws(found["epistemic_ratio"], found["epistemic_ratio_error"])
        notes += _epistemic(ratio, pairs["draws"], found["inputs"])
    inputs = f"{found['inputs']:,} of {found['of_inputs']:,} test inputs"
    title = f"One pass and draws, {printable(str(row['name']), LETTERS)}, {inputs}"
    return Table(columns, title=title, elsewhere="--wide or --json shows them", notes=notes)


def _epistemic(found: RatioToDraws, draws: int, inputs: int) -> list[str]:
    """Epistemic uncertainty of one pass beside that of draws, and a warning where they are far from each other."""
    lines = [
        f"Epistemic uncertainty: one pass / {draws} draws = {found.ratio:.2f} ±{found.error:.2f} (means over "
        f"{inputs:,} inputs; standard error from the numbers of draws and inputs)."
    ]
    if found.is_far:
        way = "little" if found.ratio < 1 else "much"
        lines.append(
            f"Warning: one pass has too {way} epistemic uncertainty for this network: predict with --samples 32, or "
            "deploy it with --match-draws, which corrects its mean."
        )
    return lines
