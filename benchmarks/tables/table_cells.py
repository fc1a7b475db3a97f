"""What is tried with one table, through the command line, and whether what comes of it is right.

*prepare* holds what was read against the cells, row by row. Then, with SSVI and the dense deterministic method:
*train* (20 steps), *resume* (a run that was broken off, bit for bit), *predict* (each row as in the file turned round,
and the dense network's answers as its weights say), *measure* (the figures of the run, and accuracy from the
predictions), *cost*.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from szilard import cli, interrupts, methods
from szilard.data import DataSet
from szilard.training import run as runs
from tables.table_files import TABLES, Table, backwards
from zoo_training.prepared_checks import Wrong, near
from zoo_training.training_cells import Cell, is_sentence, located

METHODS = {"ssvi": "ssvi", "dense": "deterministic"}
LATER = ("train", "resume", "predict", "measure", "cost")
BROKEN_OFF = 7


class Refused(Exception):
    """The command line has refused in one sentence."""


@dataclass
class Tried:
    """One table, as far as it has come."""

    table: Table
    folder: Path
    data: DataSet | None = None
    twin: DataSet | None = None
    rows: dict[str, list[int]] = field(default_factory=dict)  # of the file, by part

    @property
    def file(self) -> Path:
        return self.folder / f"my table{self.table.suffix}"

    def run(self, name: str) -> Path:
        return self.folder / name


def command(*arguments: str | Path) -> str:
    """What ``szilard`` prints.

    Raises:
        Refused: exit 2, with its sentence.
        Wrong: another exit, or no sentence.
    """
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with (
        contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings(),
        mock.patch.object(sys, "argv", ["szilard", *map(str, arguments)]),
        mock.patch.object(interrupts, "install"), mock.patch.dict(os.environ),  # whatever belongs to this process stays
        mock.patch.object(warnings, "formatwarning", warnings.formatwarning),
    ):  # fmt: skip
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code
    if not code:
        return out.getvalue()
    told = [line for line in err.getvalue().splitlines() if line.startswith("error: ")]
    if code == 2 and re.search(r"\b[a-z_]+=(True|False|['\"])", err.getvalue()):
        raise Wrong(
            f"a refusal names options of Python and not of the command line: {err.getvalue().strip()[-160:]}"
        )
    if code == 2 and len(told) == 1 and is_sentence(told[0]):
        raise Refused(told[0].removeprefix("error: "))
    if code == 2 and "No such option" in err.getvalue():
        raise Refused(f"this version has no option {arguments[-2] if len(arguments) > 1 else ''}")
    raise Wrong(f"szilard {arguments[0]} ended with {code}: {err.getvalue()[-160:]!r}")


def judged(subject: str, method: str, stage: str, work: Callable[[], None]) -> Cell:
    try:
        work()
    except Refused as error:
        return Cell(subject, method, stage, "refused", str(error))
    except Wrong as error:
        return Cell(subject, method, stage, "wrong", str(error))
    except Exception as error:
        return Cell(subject, method, stage, "crashed", located(error))
    return Cell(subject, method, stage, "right")


def cells(name: str) -> list[Cell]:
    """All of one table."""
    table = TABLES[name]
    with tempfile.TemporaryDirectory() as folder:
        tried = Tried(table, Path(folder))
        tried.file.write_bytes(table.file)
        found = [judged(name, "both", "prepare", lambda: prepare(tried))]
        found[0] = _as_expected(tried, found[0])
        for method in METHODS:
            for stage in LATER:
                if tried.data is None or table.refusal:
                    found.append(Cell(name, method, stage, "not reached", "prepare"))
                else:
                    found.append(judged(name, method, stage, lambda s=stage, m=method: STAGE[s](tried, m)))  # type: ignore[misc]
    return found


def _as_expected(tried: Tried, cell: Cell) -> Cell:
    table = tried.table
    if not table.refusal:
        return cell
    if cell.verdict == "right":
        return Cell(cell.subject, cell.method, cell.stage, "wrong", "taken, where it should be refused")
    if cell.verdict == "refused":
        lacking = [word for word in table.mention if word not in cell.told]
        if len(lacking) == len(table.mention) and lacking:
            return Cell(
                cell.subject,
                cell.method,
                cell.stage,
                "wrong",
                f"refused without a word of {lacking}: {cell.told}",
            )
        if tried.run("run").exists():
            return Cell(cell.subject, cell.method, cell.stage, "wrong", "a refusal left a folder behind")
    return cell


# -- stages ---------------------------------------------------------------------------------------------


def fit(tried: Tried, name: str, *more: str) -> None:
    """Five epochs of four batches."""
    chosen = [text for method in METHODS.values() for text in ("--method", method)]
    batch = max(1, math.ceil(0.7 * len(tried.table.rows) / 4))
    command(
        "fit", "--data", tried.file, "--target", "y", "--network", "mlp:32", *chosen, "--no-baselines",
        "--epochs", "5", "--batch-size", str(batch), "--checkpoint-steps", "5", "--samples", "8",
        "--out", tried.run(name), "--quiet", *more, *tried.table.options,
    )  # fmt: skip


@contextlib.contextmanager
def listening() -> Iterator[list[DataSet]]:
    """The data sets that runs load."""
    recorded: list[DataSet] = []
    load = runs.rooms.load

    def spied(*given: Any, **options: Any) -> DataSet:
        recorded.append(load(*given, **options))
        return recorded[-1]

    with mock.patch.object(runs.rooms, "load", spied):
        yield recorded


def prepare(tried: Tried) -> None:
    """Every row is in one part, with its own cells and label; groups and times do not leak."""
    with listening() as recorded:
        fit(tried, "run")
    tried.data = data = recorded[0]
    if tried.table.refusal:
        return
    tried.rows = {
        part: _rows(tried.table, data, getattr(data, part).x) for part in ("train", "valid", "test")
    }
    together = sorted(row for rows in tried.rows.values() for row in rows)
    if together != tried.table.rows:
        raise Wrong(
            f"{len(together)} rows are in the parts and {len(tried.table.rows)} in the file, or one is twice"
        )
    for part, rows in tried.rows.items():
        _check_cells(tried.table, data, getattr(data, part).x, rows)
        _check_targets(tried.table, data, getattr(data, part).y, rows)
    centre = data.train.x.double().mean(0).abs().max()
    if float(centre) > 1e-3:
        raise Wrong("inputs are not centred by the training part")
    _check_split(tried)
    if tried.table.twin is not None:
        _check_twin(tried)


def _raw(data: DataSet, x: Tensor, name: str) -> list[float]:
    column = data.feature_names.index(name)
    return [float(value) for value in data.raw(x.double())[:, column]]


def _rows(table: Table, data: DataSet, x: Tensor) -> list[int]:
    """Of the file, found by column ``a``."""
    if "a" not in data.feature_names:
        raise Wrong(f"column a is not among the features {data.feature_names[:6]}")
    known = {round(float(table.columns["a"][row]), 3): row for row in table.rows}
    found = [known.get(round(value, 3)) for value in _raw(data, x, "a")]
    if None in found:
        raise Wrong("a number of column a is none of the file's")
    return [row for row in found if row is not None]


def _check_cells(table: Table, data: DataSet, x: Tensor, rows: list[int]) -> None:
    """Each feature whose meaning its name tells."""
    for name in data.feature_names:
        column, _, value = name.partition("=")
        if name in table.columns and name not in table.leave:
            cells = table.columns[name]
            wanted = [float(cells[row]) for row in rows]
        elif column in table.columns and column not in table.leave and value in table.columns[column]:
            wanted = [float(table.columns[column][row] == value) for row in rows]
        else:
            continue
        for row, found, should in zip(rows, _raw(data, x, name), wanted, strict=True):
            if abs(found - should) > 1e-4 * max(1.0, abs(should)):
                raise Wrong(f"row {row} of {name!r} was read as {found:g} and is {should:g}")


def _check_targets(table: Table, data: DataSet, y: Tensor, rows: list[int]) -> None:
    cells = [table.columns["y"][row] for row in rows]
    if (data.task == "regression") != table.regression:
        raise Wrong(f"the target was taken for a {data.task}")
    if table.regression:
        for found, cell in zip(y.double() * data.target_scale + data.target_shift, cells, strict=True):
            near("a target", float(found), float(cell))
    elif [data.classes[int(label)] for label in y] != cells:
        raise Wrong("labels are not those of their rows")


def _check_split(tried: Tried) -> None:
    table, rows = tried.table, tried.rows
    if table.group:
        sets = [{table.columns[table.group][row] for row in part} for part in rows.values()]
        if sets[0] & sets[1] or sets[0] & sets[2] or sets[1] & sets[2]:
            raise Wrong("a group is in two parts")
    if table.time:
        times = [[float(table.columns[table.time][row]) for row in part] for part in rows.values()]
        if max(times[0]) > min(times[1]) or max(times[1]) > min(times[2]):
            raise Wrong("a part holds rows from before the one that it is to follow")


def _check_twin(tried: Tried) -> None:
    """The network is bit for bit that of the twin: tried in full, because two spellings say the same."""
    assert tried.table.twin is not None
    other = Tried(TABLES[tried.table.twin], tried.folder / "twin")
    other.folder.mkdir()
    other.file.write_bytes(other.table.file)
    fit(other, "run")
    for method in METHODS.values():
        ours, theirs = (network(one, "run", method)["state_dict"] for one in (tried, other))
        if list(ours) != list(theirs) or not all(torch.equal(ours[name], theirs[name]) for name in ours):
            raise Wrong(f"{method} gives another network than with the table {tried.table.twin!r}")


def network(tried: Tried, run: str, method: str) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(tried.run(run) / method / "network.pt", weights_only=True)
    return found


def result(tried: Tried, method: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((tried.run("run") / method / "result.json").read_text())
    return found


def train(tried: Tried, method: str) -> None:
    found = result(tried, METHODS[method])
    if found["n_train"] != len(tried.rows["train"]):
        raise Wrong(f"{found['n_train']} training rows are reported")
    if not all(
        bool(t.isfinite().all()) for t in network(tried, "run", METHODS[method])["state_dict"].values()
    ):
        raise Wrong("weights are not finite")


def resume(tried: Tried, method: str) -> None:
    """Broken off after 7 steps of this method, and gone on with."""
    kind = methods.SSVI if method == "ssvi" else methods.Deterministic
    after_step = kind.after_step

    def breaking(self: Any, *given: Any, **named: Any) -> None:
        after_step(self, *given, **named)
        if self.step == BROKEN_OFF and not broken:
            broken.append(self.step)
            raise KeyboardInterrupt

    broken: list[int] = []
    name = f"again {method}"
    with mock.patch.object(kind, "after_step", breaking), contextlib.suppress(Wrong, KeyboardInterrupt):
        fit(tried, name)
    if not broken:
        raise Wrong("the run could not be broken off")
    command("fit", "--resume", "--out", tried.run(name), "--quiet")
    whole, resumed = (network(tried, run, METHODS[method])["state_dict"] for run in ("run", name))
    for tensor in whole:
        if not torch.equal(whole[tensor], resumed[tensor]):
            raise Wrong(f"{tensor} differs after a resumed run")


def predicted(tried: Tried, method: str, file: Path) -> list[dict[str, str]]:
    to = tried.folder / "predicted.csv"
    command("predict", tried.run("run"), file, "--method", METHODS[method], "--samples", "8", "--out", to)
    with to.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def predict(tried: Tried, method: str) -> None:
    """One row each, finite; the same in another order; of the dense network, what its weights say."""
    table = tried.table
    rows = predicted(tried, method, tried.file)
    if len(rows) not in (len(table.rows), len(table.columns["y"])):
        raise Wrong(f"{len(rows)} predictions of {len(table.columns['y'])} rows")
    for row in rows:
        figures = [float(value) for name, value in row.items() if name != "label" and value]
        if not all(math.isfinite(figure) for figure in figures):
            raise Wrong("a prediction is not finite")
        if not table.regression and row["label"] not in table.columns["y"]:
            raise Wrong(f"{row['label']!r} is predicted, which is no class")
        if not table.regression and not 0 <= float(row["probability"]) <= 1 + 1e-6:
            raise Wrong(f"a probability of {row['probability']}")
    turned = tried.folder / "reversed.csv"
    turned.write_bytes(backwards(table))
    again = predicted(tried, method, turned)[::-1]
    if len(again) == len(rows):
        _compare(rows, again)
    if method == "dense":
        _check_dense(tried, rows)


def _compare(rows: list[dict[str, str]], again: list[dict[str, str]]) -> None:
    for number, (one, other) in enumerate(zip(rows, again, strict=True)):
        for name, value in one.items():
            if name in ("label", "line"):  # the line of a row moves with it
                continue
            if value != other[name] and abs(float(value) - float(other[name])) > 2e-3 * max(
                1.0, abs(float(value))
            ):
                raise Wrong(f"row {number} in another order has {name} {other[name]}, and had {value}")


def _check_dense(tried: Tried, rows: list[dict[str, str]]) -> None:
    """The two matrices of ``network.pt``, by hand, on the rows of the test part."""
    assert tried.data is not None
    if len(rows) != len(tried.table.columns["y"]):
        return
    held = network(tried, "run", "deterministic")["state_dict"]
    by_end = {name.removeprefix("network."): tensor.double() for name, tensor in held.items()}
    x = tried.data.test.x.double()
    hidden = torch.relu(x @ by_end["1.weight"].T + by_end["1.bias"])
    output = hidden @ by_end["3.weight"].T + by_end["3.bias"]
    for number, row in enumerate(tried.rows["test"]):
        if tried.table.regression:
            mean = float(output[number, 0]) * tried.data.target_scale + tried.data.target_shift
            near("a predicted mean", float(rows[row]["mean"]), mean, 1e-3)
        else:
            near(
                "a probability", float(rows[row]["probability"]), float(output[number].softmax(0).max()), 1e-3
            )


def measure(tried: Tried, method: str) -> None:
    """``szilard measure`` gives the run's figures; accuracy and RMSE follow from the predictions."""
    name = METHODS[method]
    wanted = result(tried, name)["test"]
    printed = json.loads(command("measure", tried.run("run") / name, "--samples", "8", "--json"))
    found = printed["networks"][0]["quality"]
    for key, value in wanted.items():
        if isinstance(value, int | float):
            near(key, found[key], value, 1e-6)
    rows = predicted(tried, method, tried.file)
    if len(rows) != len(tried.table.columns["y"]):
        return
    cells, test = tried.table.columns["y"], tried.rows["test"]
    if tried.table.regression:
        errors = [float(rows[row]["mean"]) - float(cells[row]) for row in test]
        near("rmse", wanted["rmse"], math.sqrt(sum(e * e for e in errors) / len(errors)), 1e-3)
    else:
        right = sum(rows[row]["label"] == cells[row] for row in test)
        near("accuracy", wanted["accuracy"], right / len(test), 1e-6)


def cost(tried: Tried, method: str) -> None:
    """Entries that exist are those in the file of the network."""
    counted = result(tried, METHODS[method])["cost"]
    held = network(tried, "run", METHODS[method])["state_dict"]
    existing = sum(
        t.numel() for name, t in held.items() if t.is_floating_point() and not name.endswith("log_std")
    )
    near("nonzeros", counted["nonzeros"]["value"], existing, 0)


STAGE: dict[str, Callable[[Tried, str], None]] = {
    "train": train, "resume": resume, "predict": predict, "measure": measure, "cost": cost,
}  # fmt: skip
