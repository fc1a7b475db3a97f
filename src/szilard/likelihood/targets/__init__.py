"""The target types of the tasks: other packages use these objects instead of comparing the task's name."""

from __future__ import annotations

from szilard.errors import SzilardError
from szilard.likelihood.targets.classes import Classes
from szilard.likelihood.targets.labels import Labels
from szilard.likelihood.targets.quantities import Quantities
from szilard.likelihood.targets.target_type import DataTargets, TargetType, TaskName
from szilard.likelihood.targets.vectors import Vectors

__all__ = [
    "CLASSES",
    "DATA_TASKS",
    "LABELS",
    "QUANTITIES",
    "TASKS",
    "Classes",
    "DataTargets",
    "Labels",
    "Quantities",
    "TargetType",
    "TaskName",
    "Vectors",
    "known",
    "of_data",
    "of_task",
]

CLASSES, LABELS, QUANTITIES = Classes(), Labels(), Quantities()

_OF_DATA: dict[str, DataTargets] = {one.name: one for one in (CLASSES, LABELS, QUANTITIES)}
_ALL: dict[str, TargetType] = {one.name: one for one in (*_OF_DATA.values(), Vectors())}

DATA_TASKS = tuple(_OF_DATA)  #: names of the tasks of data sets, for which methods train
TASKS = tuple(_ALL)
"""Names of all tasks, as ``task=`` and ``--task`` take them."""


def of_data(task: str) -> DataTargets:
    """The target type of a data set or a method, from the name of its task.

    Raises:
        SzilardError: no such task.
    """
    if task not in _OF_DATA:
        raise SzilardError(
            f"task is {task!r}; take one of {', '.join(DATA_TASKS)}, or a likelihood of szilard.likelihood"
        )
    return _OF_DATA[task]


def known(task: object) -> DataTargets | None:
    """The target type of a task named in a file; None if there is no such task."""
    return _OF_DATA.get(task) if isinstance(task, str) else None


def of_task(task: str) -> TargetType:
    """The target type of a trained network, from the name of its task.

    Raises:
        SzilardError: no such task.
    """
    if task not in _ALL:
        raise SzilardError(f"task is {task!r}; take one of {', '.join(TASKS)}")
    return _ALL[task]
