"""Names of classes: made from the cells of a table, and matched between tables."""

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
_SHOWN = 5  # classes in a message


def of_numbers(cells: Sequence[str], values: np.ndarray) -> tuple[Tensor, tuple[str, ...]]:
    """Classes from whole numbers, in numerical order.

    A class is named by the text of its cells. Different notations of one number, such as ``1`` and ``1.0``, are one
    class, ``1``. A number with leading zeros is a code: ``01`` and ``1`` are different classes.

    Args:
        cells: ``N`` texts.
        values: ``[N]``, the whole numbers in the cells.

    Returns:
        class numbers, int64 ``[N]``, and names of the classes.
    """
    keys: dict[str, tuple[float, str]] = {}
    for cell, value in zip(cells, values.tolist(), strict=True):
        if cell not in keys:
            keys[cell] = value, _written(cell, value)
    written: dict[tuple[float, str], list[str]] = {}
    for cell, key in keys.items():
        written.setdefault(key, []).append(cell)
    order = sorted(written, key=lambda key: (key[0], len(key[1]), key[1]))
    names = [written[key][0] if len(written[key]) == 1 else key[1] for key in order]
    number = {key: i for i, key in enumerate(order)}
    index = np.fromiter((number[keys[cell]] for cell in cells), np.int64, len(cells))
    return torch.from_numpy(index), tuple(names)


def _written(cell: str, value: float) -> str:
    """The usual notation of a whole number; leading zeros stay."""
    text = code(cell)
    return text if _DIGITS.fullmatch(text) else f"{value + 0.0:.0f}"


def as_before(names: Sequence[str], known: Sequence[str]) -> list[str]:
    """For each class name of a table the name that earlier tables gave the class, or its own if they did not have it.

    Equal text is the same class. Otherwise the same number in another notation is, as in :func:`of_numbers`: ``1.0``
    is ``1``, and ``01`` is not.
    """
    usual: dict[str, str] = {}
    for name in known:
        if _NUMBER.fullmatch(name):
            usual.setdefault(_written(name, float(name)), name)
    exact = set(known)
    return [
        name if name in exact or not _NUMBER.fullmatch(name) else usual.get(_written(name, float(name)), name)
        for name in names
    ]


def places(names: Sequence[str], known: Sequence[str]) -> list[int | None]:
    """For each class name its index among the classes of a network, or None.

    Equal text is the same class. Otherwise an equal number is, if only one class has it: ``1.0`` matches ``1``, and so
    does ``001``, which earlier versions saved as ``1``.
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
    """The exception for classes in a file that a network was not trained on.

    Args:
        names: the unknown classes.
        known: classes of the network.
        what: name of the network.
    """
    several = len(names) > 1
    return SzilardError(
        f"{path} has {'classes' if several else 'a class'} {_listed(names)}, which {what} was not trained on (its "
        f"classes are {_listed(known)}); leave such rows out, or give other --data"
    )


def refuse_missing_classes(
    table: Table, y: Tensor, train: Tensor, classes: Sequence[str], request: Request
) -> None:
    """Raise if ``--time``, ``--group`` or ``--n-train`` leaves a class without training examples.

    Args:
        y: ``[N]`` classes of all rows.
        train: indices of the training rows.
    """
    empty = (torch.bincount(y[train], minlength=len(classes)) == 0).nonzero().flatten().tolist()
    if not empty:
        return
    several = len(empty) > 1
    which = f"class{'es' if several else ''} {_listed([classes[i] for i in empty])} of {table.path}"
    occur, they, have = ("occur", "them", "have") if several else ("occurs", "it", "has")
    if request.time is not None:
        name = shortened(request.time, 60)
        raise SzilardError(
            f"{which} {occur} only in rows that --time {name} puts after the training rows, so no network can "
            f"learn {they}; leave such rows out, or split the rows without --time (in Python: time=)"
        )
    if request.group is not None:
        name = shortened(request.group, 60)
        raise SzilardError(
            f"{which} {have} no training example, because all of its groups by --group {name} are in other parts; "
            "try another --data-seed, or a column with more groups (in Python: seed= or group=)"
        )
    if request.n_train is not None:
        raise SzilardError(
            f"{which} {have} no training example among {len(train)}; choose a larger n_train than {request.n_train}"
        )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(shortened(name, 60)) for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN:,} more"
