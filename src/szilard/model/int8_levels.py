"""The integers of a ``.szd`` file that fit int8, for runtimes that keep weights as integers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from szilard.file import steps
from szilard.file.kinds import Alias, Levels
from szilard.file.opening import open_file
from szilard.file.reader import MOST_OUTPUT, decode
from szilard.file.records import Document
from szilard.file.tables import tables

_LARGEST = 127


def int8_levels(
    path: Path | str, *, max_bytes: int = MOST_OUTPUT
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Levels and steps of the quantised tensors that int8 and a step for each row express exactly.

    Left out are tensors that are not float32 or have fewer than two axes, levels beyond ±127 and tensors with scales of
    columns; the network's own values serve them.

    Args:
        path: the ``.szd`` file.
        max_bytes: refuse a file whose tensors take more.

    Returns:
        By name: int8 levels of the tensor's shape, and float32 steps, a scalar or one for each row, such that
        level · step, in float32, is the tensor bit for bit.

    Raises:
        SzilardFileError: no such file, or a damaged one.
    """
    document: Document = open_file(path, lambda data: decode(tables(data), max_bytes))
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for record in document.records:
        if isinstance(record, Alias) and record.target in found:
            found[record.name] = found[record.target]
        if not isinstance(record, Levels) or record.dtype != "float32" or len(record.shape) < 2:
            continue
        fits = not record.levels.size or max(-int(record.levels.min()), int(record.levels.max())) <= _LARGEST
        if record.col_scale is None and fits:
            step = steps.value(record.step)
            scale = np.asarray(step) if record.row_scale is None else step * steps.scales(record.row_scale)
            found[record.name] = record.levels.astype(np.int8), scale.astype(np.float32)
    return found
