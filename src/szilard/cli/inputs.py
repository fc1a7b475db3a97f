"""New inputs for a saved network, read and normalised as in its training."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from szilard.cli import network_data
from szilard.data import check, dates, image_range, unseen
from szilard.data.files import path_of
from szilard.data.missing import rows_to_predict
from szilard.data.npz import read_npz, to_tensor
from szilard.data.reading import Reading
from szilard.data.table import Table, listed
from szilard.data.table_reading import read_table
from szilard.errors import SzilardError, SzilardWarning, shortened
from szilard.model.saved_network import SavedNetwork


@dataclass(frozen=True)
class Lines:
    """Line numbers of a table, from 1, where rows may be left out (``--missing drop``); otherwise both are empty."""

    kept: list[int] = field(default_factory=list)
    left_out: list[int] = field(default_factory=list)


def read(name: str, finished: SavedNetwork, root: Path | None, lines: Lines | None = None) -> Tensor:
    """``[N, *input_shape]``, normalised.

    Args:
        name: an .npz file with an array ``x``, a .csv file with the columns of training, or a data set, of which the
            test split is read.
        lines: is filled with line numbers where rows of a table may be left out.

    Raises:
        SzilardError: no such file, column or array, wrong shapes, NaN.
    """
    suffix = Path(name).suffix.lower()
    path = path_of(name)
    if suffix in (".npz", ".csv", ".tsv") and not path.exists():
        raise SzilardError(f"there is no file {path}; name the file of inputs")
    if suffix == ".npz":
        raw = _from_npz(path, finished)
    elif suffix in (".csv", ".tsv"):
        raw = _from_csv(path, finished, Lines() if lines is None else lines)
    else:
        raw = _from_set(name, finished, root)
    _check_shape(raw, finished, name)
    check.finite(raw, f"an input of {name}")
    return finished.normalise(raw)


def _check_shape(raw: Tensor, finished: SavedNetwork, name: str) -> None:
    if tuple(raw.shape[1:]) != finished.input_shape:
        raise SzilardError(
            f"inputs in {name} have shape {list(raw.shape[1:])}, and the network takes {list(finished.input_shape)}"
        )
    if not len(raw):
        raise SzilardError(f"{name} holds no inputs; there is nothing to predict")


def _from_npz(path: Path, finished: SavedNetwork) -> Tensor:
    arrays = read_npz(path)
    key = next((k for k in ("x", "x_test") if k in arrays), next(iter(arrays)) if len(arrays) == 1 else None)
    if key is None:
        raise SzilardError(f"{path} holds {listed(sorted(arrays)) or 'nothing'}; name the inputs x")
    x = to_tensor(arrays[key], f"{key} of {path}")
    images = len(finished.input_shape) == 3
    if images and x.dim() == 3:
        x = x.unsqueeze(1)
    if images and x.dim() == 4 and tuple(x.shape[1:]) != finished.input_shape and x.shape[3] in (1, 3):
        x = x.movedim(3, 1)
    _check_shape(x, finished, str(path))
    if not images:
        return x.double()
    of_bytes = x.dtype == torch.uint8
    x = x.float() / 255 if of_bytes else x.float()
    check.finite(x, f"{key} of {path}")
    image_range.check(x, finished.image_range, f"the images {key} of {path}", of_bytes=of_bytes)
    return x


def _from_csv(path: Path, finished: SavedNetwork, lines: Lines) -> Tensor:
    if not finished.feature_names:
        raise SzilardError(f"{path} is a table, and the network takes images; give them as an .npz file")
    reading = finished.reading
    if reading is None:  # saved by a version that did not record how its table was read
        table = read_table(path)
        columns = np.stack([_column(table, name) for name in finished.feature_names], 1)
        return _in_range(columns, table.lines, finished, path)
    table = read_table(path, finished.data.get("decimal"), usual=reading.decimal)
    x, rows = rows_to_predict(table, reading.encode(table), reading.missing, finished.shift.double().numpy())
    kept = [table.lines[row] for row in rows.tolist()]
    _warn_of_dates(table, reading)
    unseen.warn(reading, x, kept, str(path))
    if reading.missing == "drop":
        lines.kept.extend(kept)
        lines.left_out.extend(sorted({*table.lines} - {*kept}))
    return _in_range(x, kept, finished, path)


def _in_range(x: np.ndarray, lines: Sequence[int], finished: SavedNetwork, path: Path) -> Tensor:
    """Features ``[N, D]``, float64; raises for one that float32 cannot hold in the network's units, and names it."""
    found = torch.from_numpy(x)
    bad = (~torch.isfinite(finished.normalise(found))).nonzero()
    if len(bad):
        row, column = bad[0].tolist()
        raise SzilardError(
            f"line {lines[row]}, column {shortened(finished.feature_names[column], 60)!r} of {path} is "
            f"{x[row, column]:g}, too large for the network's numbers (float32); correct the number, or its unit"
        )
    return found


def _warn_of_dates(table: Table, reading: Reading) -> None:
    """Warn of the order in which day and month are read, where no cell determines it."""
    for column in reading.columns:
        if column.kind != "date":
            continue
        cells = table.columns[table.index(column.name)]
        if dates.has_order(cells) and len(dates.orders(cells)) > 1:
            first = next(cell for cell in cells if dates.has_order([cell]))
            order = "day/month" if column.order == "dmy" else "month/day"
            warnings.warn(
                f"dates of column {shortened(column.name, 60)!r} of {table.path}, such as {shortened(first, 60)!r}, "
                f"are read as {order}/year; write them as 2024-03-31 if that is wrong",
                SzilardWarning,
                stacklevel=2,
            )


def _column(table: Table, name: str) -> np.ndarray:
    """A column of the file, or the 0/1 column "colour=red" of its text column colour."""
    if name in table.names:
        return table.numbers(table.names.index(name))
    text, equals, value = name.partition("=")
    if equals and text in table.names:
        return np.array([cell == value for cell in table.texts(table.names.index(text))], dtype=np.float64)
    raise SzilardError(
        f"{table.path} has no column {shortened(text, 60)!r}, which the network was trained on; "
        f"it has {listed(table.names)}"
    )


def _from_set(name: str, finished: SavedNetwork, root: Path | None) -> Tensor:
    options = {"name": name, "root": None if root is None else str(root)}
    loaded = network_data.load(finished.data, options, "the network", trusted=finished.data_trusted)
    network_data.check_images(loaded, finished)
    return loaded.raw(loaded.test.x)
