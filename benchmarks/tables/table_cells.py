"""The cells of one table: stages of training through the command line, and whether their results are correct.

*prepare* compares the data set with the cells of the file, row by row. The other stages use SSVI and the dense
deterministic method: *train* (20 steps), *resume* (an interrupted run, bit for bit), *predict* (equal predictions for
the reversed file, and those of the dense network from its weights), *measure* (figures of the run), *cost*.
"""

from __future__ import annotations

import contextlib
import json
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from szilard import methods
from szilard.data import DataSet
from tables.table_files import TABLES, Table, backwards
from tables.table_runs import METHODS, Refused, Tried, command, fit, listening, network, predicted, result
from zoo_training.prepared_checks import Wrong, near
from zoo_training.verdicts import Cell, located

LATER = ("train", "resume", "predict", "measure", "cost")
BROKEN_OFF = 7  # step after which a run is interrupted


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
    """All cells of one table."""
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
        return Cell(cell.subject, cell.method, cell.stage, "wrong", "accepted, but it should be refused")
    if cell.verdict == "refused":
        lacking = [word for word in table.mention if word not in cell.message]
        if len(lacking) == len(table.mention) and lacking:
            text = f"the refusal does not mention {lacking}: {cell.message}"
            return Cell(cell.subject, cell.method, cell.stage, "wrong", text)
        if tried.run("run").exists():
            return Cell(cell.subject, cell.method, cell.stage, "wrong", "a refused run left its folder")
    return cell


# -- stages ---------------------------------------------------------------------------------------------


def prepare(tried: Tried) -> None:
    """Every row is in exactly one part, with its cells and label; groups and times do not leak between parts."""
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
            f"{len(together)} rows are in the parts and {len(tried.table.rows)} in the file, or a row is duplicated"
        )
    for part, rows in tried.rows.items():
        _check_cells(tried.table, data, getattr(data, part).x, rows)
        _check_targets(tried.table, data, getattr(data, part).y, rows)
    centre = data.train.x.double().mean(0).abs().max()
    if float(centre) > 1e-3:
        raise Wrong("inputs are not centred with the mean of the training part")
    _check_split(tried)
    if tried.table.twin is not None:
        _check_twin(tried)


def _raw(data: DataSet, x: Tensor, name: str) -> list[float]:
    column = data.feature_names.index(name)
    return [float(value) for value in data.raw(x.double())[:, column]]


def _rows(table: Table, data: DataSet, x: Tensor) -> list[int]:
    """Row numbers of inputs, found by column ``a``."""
    if "a" not in data.feature_names:
        raise Wrong(f"column a is not among the features {data.feature_names[:6]}")
    known = {round(float(table.columns["a"][row]), 3): row for row in table.rows}
    found = [known.get(round(value, 3)) for value in _raw(data, x, "a")]
    if None in found:
        raise Wrong("a number of column a is not in the file")
    return [row for row in found if row is not None]


def _check_cells(table: Table, data: DataSet, x: Tensor, rows: list[int]) -> None:
    """Compare every feature that its name assigns to a column of the file."""
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
        raise Wrong(f"the task was detected as {data.task}")
    if table.regression:
        for found, cell in zip(y.double() * data.target_scale + data.target_shift, cells, strict=True):
            near("a target", float(found), float(cell))
    elif [data.classes[int(label)] for label in y] != cells:
        raise Wrong("labels differ from those of the file's rows")


def _check_split(tried: Tried) -> None:
    table, rows = tried.table, tried.rows
    if table.group:
        sets = [{table.columns[table.group][row] for row in part} for part in rows.values()]
        if sets[0] & sets[1] or sets[0] & sets[2] or sets[1] & sets[2]:
            raise Wrong("a group is in two parts")
    if table.time:
        times = [[float(table.columns[table.time][row]) for row in part] for part in rows.values()]
        if max(times[0]) > min(times[1]) or max(times[1]) > min(times[2]):
            raise Wrong("a part contains rows that are earlier than rows of the part before")


def _check_twin(tried: Tried) -> None:
    """Training on the twin gives a network with the same bits, because both files have the same content."""
    assert tried.table.twin is not None
    other = Tried(TABLES[tried.table.twin], tried.folder / "twin")
    other.folder.mkdir()
    other.file.write_bytes(other.table.file)
    fit(other, "run")
    for method in METHODS.values():
        ours, theirs = (network(one, "run", method)["state_dict"] for one in (tried, other))
        if list(ours) != list(theirs) or not all(torch.equal(ours[name], theirs[name]) for name in ours):
            raise Wrong(f"{method} gives a different network than with the table {tried.table.twin!r}")


def train(tried: Tried, method: str) -> None:
    found = result(tried, METHODS[method])
    if found["n_train"] != len(tried.rows["train"]):
        raise Wrong(f"{found['n_train']} training rows are reported")
    if not all(
        bool(t.isfinite().all()) for t in network(tried, "run", METHODS[method])["state_dict"].values()
    ):
        raise Wrong("weights are not finite")


def resume(tried: Tried, method: str) -> None:
    """A run that is interrupted after 7 steps of this method and resumed gives the same bits."""
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
        raise Wrong("the run could not be interrupted")
    command("fit", "--resume", "--out", tried.run(name), "--quiet")
    whole, resumed = (network(tried, run, METHODS[method])["state_dict"] for run in ("run", name))
    for tensor in whole:
        if not torch.equal(whole[tensor], resumed[tensor]):
            raise Wrong(f"{tensor} differs after a resumed run")


def predict(tried: Tried, method: str) -> None:
    """Predictions are finite, one for each row, and independent of the order; dense ones follow from the weights."""
    table = tried.table
    rows = predicted(tried, method, tried.file)
    if len(rows) not in (len(table.rows), len(table.columns["y"])):
        raise Wrong(f"{len(rows)} predictions of {len(table.columns['y'])} rows")
    for row in rows:
        figures = [float(value) for name, value in row.items() if name != "label" and value]
        if not all(math.isfinite(figure) for figure in figures):
            raise Wrong("a prediction is not finite")
        if not table.regression and row["label"] not in table.columns["y"]:
            raise Wrong(f"{row['label']!r} is predicted, which is not a class")
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
            if name in ("label", "line"):  # the line number changes with the order
                continue
            if value != other[name] and abs(float(value) - float(other[name])) > 2e-3 * max(
                1.0, abs(float(value))
            ):
                raise Wrong(f"row {number} has {name} {other[name]} in a different order, and had {value}")


def _check_dense(tried: Tried, rows: list[dict[str, str]]) -> None:
    """Compute the test predictions from the two weight matrices in ``network.pt``."""
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
    """``szilard measure`` reports the figures of the run; accuracy and RMSE follow from the predictions."""
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
    """The number of stored entries equals the number of entries in ``network.pt``."""
    counted = result(tried, METHODS[method])["cost"]
    held = network(tried, "run", METHODS[method])["state_dict"]
    existing = sum(
        t.numel() for name, t in held.items() if t.is_floating_point() and not name.endswith("log_std")
    )
    near("nonzeros", counted["nonzeros"]["value"], existing, 0)


STAGE: dict[str, Callable[[Tried, str], None]] = {
    "train": train, "resume": resume, "predict": predict, "measure": measure, "cost": cost,
}  # fmt: skip
