"""``szilard stream``."""

from __future__ import annotations

from pathlib import Path

from szilard.cli.options import output as o
from szilard.cli.options import stream as s
from szilard.cli.options import tables as t

GROUP = "Train"
EXAMPLES = (
    "szilard stream prices.csv --target up",
    "szilard stream sensors.csv --target power --time when --date when --out runs/power",
    "szilard stream later.csv --out runs/power --resume",
    "szilard stream prices.csv --target up --method bocd --out runs/changes",
)


def stream(
    data: s.Data,
    target: s.Target = None,
    task: s.Task = None,
    method: s.Method = None,
    rate: s.Rate = None,
    belief: s.Belief = None,
    controls: s.Controls = None,
    time: s.Time = None,
    ignore: t.Ignore = None,
    date: t.Date = None,
    categorical: t.Categorical = None,
    decimal: t.Decimal = None,
    strict: s.Strict = None,
    out: s.Out = None,
    resume: s.Resume = False,
    overwrite: s.Overwrite = False,
    checkpoint_rows: s.CheckpointRows = None,
    quiet: o.Quiet = False,
    json: o.Json = False,
    wide: o.Wide = False,
) -> None:
    """Predict the rows of a table one by one and learn each afterwards, in a world that changes.

    Every row is predicted before it is learned, from the rows before it alone. The folder gets predictions.csv,
    changes.csv (changes that were detected, or of the leading rate), weights.csv, belief.npz (what was learned) and
    report.html, which shows the losses beside those of controls.

    A stream that was stopped or killed continues with --resume, and so does one whose file has grown. With another
    file, --resume learns its rows as later ones.
    """
    from dataclasses import asdict

    from szilard.adapt.streaming import run
    from szilard.cli import output, stream_progress, stream_table
    from szilard.errors import printable

    options = {
        "target": target, "task": task, "method": method, "rate": rate, "belief": belief, "controls": controls,
        "time": time, "ignore": ignore or None, "date": date or None, "categorical": categorical or None,
        "decimal": decimal, "strict": strict, "checkpoint_rows": checkpoint_rows,
    }  # fmt: skip
    given = {key: value for key, value in options.items() if value is not None}
    out = out or Path("runs") / data.stem
    with stream_progress.shown(printable(data.name, 40), quiet=quiet or json) as progress:
        outcome = run(data, given, out, resume=resume, overwrite=overwrite, progress=progress)
    folder, result = outcome.folder, outcome.result
    if json:
        paths = {"run": str(out), "report": str(folder.report)}
        output.as_json({**paths, **asdict(result), "rows_per_second": outcome.rows_per_second})
        return
    if not quiet:
        stream_table.show(outcome, wide=wide)
    output.say(printable(str(folder.report)))
