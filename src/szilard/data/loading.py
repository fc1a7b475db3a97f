"""Load data sets by name or from files."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from szilard.data import cifar, duplicates, mnist, ood, uci
from szilard.data.assemble import assemble
from szilard.data.csv_file import read_csv
from szilard.data.dataset import DataSet, Task
from szilard.data.digits import read_digits
from szilard.data.download import download as fetch
from szilard.data.files import MissingFiles, data_root, path_of, squash
from szilard.data.images import read_images
from szilard.data.like_training import TrainingTable, assemble_like, read_like
from szilard.data.npz_file import read_npz_file
from szilard.data.raw import Raw, Request
from szilard.data.reading import Missing
from szilard.errors import SzilardError, shortened
from szilard.likelihood.targets import DATA_TASKS


@dataclass(frozen=True)
class _Source:
    description: str
    read: Callable[[Request], Raw]


_SOURCES = {
    "digits": _Source(
        "1797 handwritten digits 8x8, 10 classes; comes with scikit-learn, no download", read_digits
    ),
    "mnist": _Source("70 000 handwritten digits 28x28, 10 classes; idx files", read_images),
    "fashion-mnist": _Source("70 000 images of clothes 28x28, 10 classes; idx files", read_images),
    "kmnist": _Source("70 000 cursive Japanese characters 28x28, 10 classes; idx or npz files", read_images),
    "cifar10": _Source("60 000 colour photographs 32x32, 10 classes; binary files", read_images),
    "cifar100": _Source("60 000 colour photographs 32x32, 100 classes; binary files", read_images),
    **{
        name: _Source(f"{what}; regression, published splits", uci.read_uci)
        for name, what in uci.SETS.items()
    },
}
_LETTERS = 60  # of a name in a message
_ENDING = re.compile(r"\.[A-Za-z][A-Za-z0-9]{0,9}")
_FILES = {".npz": read_npz_file, ".csv": read_csv, ".tsv": read_csv}


def names() -> list[tuple[str, str]]:
    """Name and one-line description of everything that :func:`load` can load."""
    own = [
        ("FILE.csv", "your own table; name the target column"),
        ("FILE.npz", "your own arrays x, y or x_train, y_train, x_test, y_test"),
    ]
    return [(name, source.description) for name, source in _SOURCES.items()] + own


def load(
    name: str | Path,
    root: str | Path | None = None,
    *,
    target: str | None = None,
    split: int = 0,
    n_train: int | None = None,
    seed: int = 0,
    ood: str | None = None,
    task: Task | None = None,
    drop_constant: bool = False,
    ignore: Sequence[str] = (),
    missing: Missing = "refuse",
    date: Sequence[str] = (),
    group: str | None = None,
    time: str | None = None,
    decimal: str | None = None,
    categorical: Sequence[str] = (),
    download: bool = False,
) -> DataSet:
    """Load a data set: disjoint parts, with inputs normalised by statistics of the training part.

    The split depends only on ``seed``. Image sets keep their published test set; of the published training set, 1/6 is
    the validation set for MNIST-like sets (50 000 and 10 000) and 1/10 for CIFAR (45 000 and 5 000). digits: 60/20/20
    %. UCI: the published split, with 10 % of its training rows for validation. CSV and npz: 70/15/15 %. Splits are
    stratified by class.

    Args:
        name: one of :func:`names` (case, hyphens and underscores do not matter), or the path of a
            ``.csv``, ``.tsv`` or ``.npz`` file.
        root: the folder of data sets, or the folder of this set; default $SZILARD_DATA or ~/.cache/szilard.
        target: the column of a CSV file to predict, by name or number. Several columns, separated by commas, are
            quantities or binary labels.
        split: number of the published split of a UCI set.
        n_train: keep this many training examples, balanced over the classes if possible; the validation and test parts
            do not change.
        seed: of the split, the subset and the generated out-of-distribution inputs.
        ood: out-of-distribution inputs: another image set, "photographs", "shuffled-pixels", "shuffled-columns" or
            "none"; the default depends on the data set (see :func:`szilard.data.ood.partner`).
        task: "classification", "multilabel" or "regression", if the file does not determine it.
        drop_constant: leave out feature columns that are constant in training instead of raising.
        ignore: columns of a CSV file that are not features, by name or number.
        missing: what to do with rows of a CSV file that have missing cells: "refuse", "drop", or "mean", which fills in
            the mean of the training rows (rows without a target are left out).
        date: columns of a CSV file that hold dates and become numbers; "NAME=dmy" or "NAME=mdy" if dates such as
            03/04/2024 are ambiguous.
        group: a column of a CSV file; rows with the same value in it are in the same part.
        time: a column of a CSV file; validation rows are later than training rows, and test rows later still.
        decimal: the decimal mark of a CSV file, "." or ",", if numbers such as 1,234 are ambiguous.
        categorical: columns of a CSV file whose numbers are codes (of shops, of tokens) and not quantities; they become
            0/1 columns like text.
        download: download missing files of a known image set with torchvision.

    Raises:
        SzilardError: an unknown name, missing or damaged files, a file that would take too much memory for its size
            (see :func:`szilard.data.limits.check`), NaN, labels out of range, constant columns, a class without
            training examples.
    """
    if task not in (None, *DATA_TASKS):
        raise SzilardError(f"task must be 'classification', 'multilabel' or 'regression', not {task!r}")
    try:
        request = Request(
            str(name), data_root(root), target, split, n_train, seed, _partner_name(ood), task, drop_constant,
            _texts("ignore", ignore), missing, _texts("date", date), group, time, decimal,
            _texts("categorical", categorical),
        )  # fmt: skip
        return _load(path_of(name), request, download)
    except OSError as error:  # a folder that is not readable, a disk failure
        where = error.filename or name
        raise SzilardError(f"{where} cannot be read ({error.strerror or error}); check the path") from error


def load_like(like: TrainingTable, name: str | Path, **arguments: Any) -> DataSet:
    """Load a new table for a trained network, with the normalisation of its training table.

    Args:
        name: path of a CSV file.
        arguments: other arguments of :func:`load`, as in training.

    Raises:
        SzilardError: see :func:`szilard.data.like_training.read_like`.
    """
    known = {field.name for field in fields(Request)}
    given = {key: value for key, value in arguments.items() if key in known and value is not None}
    for key in ("ignore", "date", "categorical"):
        given[key] = _texts(key, given.get(key, ()))
    request = Request(str(name), **(given | {"root": data_root(given.get("root"))}))
    try:
        raw = read_like(request, like)
        inputs, origin = ood.partner(request, raw)
        return assemble_like(path_of(name).name, replace(raw, ood=inputs, ood_name=origin), like)
    except OSError as error:
        where = error.filename or name
        raise SzilardError(f"{where} cannot be read ({error.strerror or error}); check the path") from error


def _load(path: Path, request: Request, download: bool) -> DataSet:
    read = _FILES.get(path.suffix.lower())
    if read is not read_csv:
        _refuse_table_options(request)
    if read is not None:
        _refuse_uci_options(request)
        raw = read(request)
        found = _assembled(path.name, raw, request)
        duplicates.warn(path.name, raw)
        return found
    known = _known(request.name)
    request = replace(request, name=known)
    _refuse_other_options(request)
    try:
        raw = _SOURCES[known].read(request)
    except MissingFiles:
        if not download:
            raise
        fetch(known, request.root)
        raw = _SOURCES[known].read(request)
    return _assembled(known, raw, request)


def _assembled(name: str, raw: Raw, request: Request) -> DataSet:
    inputs, origin = ood.partner(request, raw)
    return assemble(name, replace(raw, ood=inputs, ood_name=origin), drop_constant=request.drop_constant)


def _known(name: str) -> str:
    spellings = {squash(known): known for known in _SOURCES} | {
        "fashion": "fashion-mnist",
        "wine": "wine-quality-red",
    }
    if squash(name) in spellings:
        return spellings[squash(name)]
    close = get_close_matches(squash(name)[:_LETTERS], spellings, 1)
    hint = f" (perhaps {spellings[close[0]]})" if close else ""
    shown = shortened(name, _LETTERS)
    ending = path_of(name).suffix
    if _ENDING.fullmatch(ending) and not close:
        is_ = "has another suffix" if path_of(name).is_file() else "does not exist, and has another suffix"
        raise SzilardError(
            f"data files end in .csv, .tsv or .npz, and {shown} {is_}; save a table as CSV, arrays as .npz, or "
            "rename the file if it is one of these"
        )
    raise SzilardError(
        f"there is no data set {shown!r}{hint}; choose {', '.join(_SOURCES)}, or a .csv or .npz file"
    )


def _partner_name(choice: str | None) -> str | None:
    if choice is None:
        return None
    choices = (*mnist.SETS, *cifar.SETS, *ood.GENERATED, "none")
    spellings = {squash(known): known for known in choices}
    if squash(choice) not in spellings:
        close = get_close_matches(squash(choice)[:_LETTERS], spellings, 1)
        hint = f" (perhaps {spellings[close[0]]})" if close else ""
        raise SzilardError(
            f"there is no OOD set {shortened(choice, _LETTERS)!r}{hint}; choose {', '.join(choices)}"
        )
    return spellings[squash(choice)]


def _texts(what: str, values: Sequence[str]) -> tuple[str, ...]:
    if isinstance(values, str):
        raise SzilardError(f"{what} must be a list of columns, not a string; write [{values!r}]")
    return tuple(map(str, values))


def _refuse_table_options(request: Request) -> None:
    given = {
        "ignore": request.ignore, "missing": request.missing != "refuse", "date": request.date,
        "group": request.group, "time": request.time, "decimal": request.decimal,
        "target": request.target if request.name.lower().endswith(".npz") else None,
        "categorical": request.categorical,
    }  # fmt: skip
    name = next((name for name, value in given.items() if value), None)
    if name is not None:
        raise SzilardError(f"--{name} is for CSV files, and {request.name} is not one; leave it out")


def _refuse_uci_options(request: Request) -> None:
    if request.split:
        raise SzilardError(
            f"split {request.split} is for UCI sets, and {request.name} has none; leave it out (--data-seed gives "
            "another split)"
        )


def _refuse_other_options(request: Request) -> None:
    if request.target is not None:
        raise SzilardError(
            f"target chooses a column of a CSV file, and {request.name} has no such columns; leave it out"
        )
    expected = "regression" if request.name in uci.SETS else "classification"
    if request.task not in (None, expected):
        raise SzilardError(f"{request.name} is a {expected} set; leave task={request.task!r} out")
    if request.split and request.name not in uci.SETS:
        raise SzilardError(
            f"split {request.split} is for UCI sets; {request.name} has one published test set"
        )
