"""Names of classes: the text of their cells, and how those of one table are found in another."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from szilard.data.raw import Request
from szilard.data.reading import code
from szilard.data.table import Table
from szilard.errors import SzilardError, shortened

_DIGITS = re.compile(r"[0-9]+")
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}(?:\.0*)?", re.ASCII)
_SHOWN = 5  # classes in a sentence


def of_numbers(cells: Sequence[str], values: np.ndarray) -> tuple[Tensor, tuple[str, ...]]:
    """Classes of whole numbers, in the order of the numbers.

    A class has the text of its cells as its name. Cells that write one number in several ways, as ``1`` and ``1.0``,
    are one class, ``1``. A number with zeros in front is a code: ``01`` beside ``1`` is another class.

    Args:
        cells: ``N`` of them.
        values: ``[N]``, whole numbers that the cells stand for.

    Returns:
        int64 ``[N]``, and the names.
    """
    keys: dict[str, tuple[float, str]] = {}
    for cell, value in zip(cells, values.tolist(), strict=True):
        if cell not in keys:
            text = code(cell)
            keys[cell] = value, text if _DIGITS.fullmatch(text) else f"{value + 0.0:.0f}"
    written: dict[tuple[float, str], list[str]] = {}
    for cell, key in keys.items():
        written.setdefault(key, []).append(cell)
    order = sorted(written, key=lambda key: (key[0], len(key[1]), key[1]))
    names = [written[key][0] if len(written[key]) == 1 else key[1] for key in order]
    number = {key: i for i, key in enumerate(order)}
    index = np.fromiter((number[keys[cell]] for cell in cells), np.int64, len(cells))
    return torch.from_numpy(index), tuple(names)


def places(names: Sequence[str], known: Sequence[str]) -> list[int | None]:
    """For each name of a class its number among those that a network knows, or None.

    The same text is the same class; else the same number is, if it is that of one class alone: ``1.0`` is ``1``, and a
    network of an earlier version calls ``001`` so, too.
    """
    exact = {name: i for i, name in enumerate(known)}
    numbers: dict[int, list[int]] = {}
    for i, name in enumerate(known):
        if _NUMBER.fullmatch(name):
            numbers.setdefault(_whole(name), []).append(i)

    def place(name: str) -> int | None:
        found = exact.get(name, exact.get(code(name)))
        if found is not None or not _NUMBER.fullmatch(name):
            return found
        same = numbers.get(_whole(name), [])
        return same[0] if len(same) == 1 else exact.get(str(_whole(name)))

    return [place(name) for name in names]


def _whole(name: str) -> int:
    return int(name.partition(".")[0])


def unknown(path: object, names: Sequence[str], known: Sequence[str], what: str) -> SzilardError:
    """The exception for classes of a file that a network does not know.

    Args:
        names: those classes.
        known: the network's.
        what: the network.
    """
    several = len(names) > 1
    return SzilardError(
        f"{path} has {'classes' if several else 'a class'} {_listed(names)}, which {what} does not know (its classes "
        f"are {_listed(known)}); leave such rows out, or name other --data"
    )


def refuse_untaught(table: Table, y: Tensor, train: Tensor, classes: Sequence[str], request: Request) -> None:
    """Raise where ``--time``, ``--group`` or ``--n-train`` leaves a class without training examples.

    Args:
        y: ``[N]`` classes of all rows.
        train: numbers of the training rows.
    """
    empty = (torch.bincount(y[train], minlength=len(classes)) == 0).nonzero().flatten().tolist()
    if not empty:
        return
    several = len(empty) > 1
    which = f"class{'es' if several else ''} {_listed([classes[i] for i in empty])} of {table.path}"
    stand, they, have = ("stand", "them", "have") if several else ("stands", "it", "has")
    if request.time is not None:
        name = shortened(request.time, 60)
        raise SzilardError(
            f"{which} {stand} only in rows that --time {name} puts after the training rows, so that no network can "
            f"learn {they}; leave such rows out, or divide the rows without --time (in Python: time=)"
        )
    if request.group is not None:
        name = shortened(request.group, 60)
        raise SzilardError(
            f"{which} {have} no training example, because its groups of --group {name} are all in other parts; divide "
            "them otherwise with another --data-seed, or by a column with more groups (in Python: seed= or group=)"
        )
    if request.n_train is not None:
        raise SzilardError(
            f"{which} {have} no training example among {len(train)}; choose a larger n_train than {request.n_train}"
        )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(shortened(name, 60)) for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN:,} more"
