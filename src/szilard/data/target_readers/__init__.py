"""Readers of targets, by type of the targets."""

from __future__ import annotations

from szilard.data.target_readers.classes import ClassReader
from szilard.data.target_readers.labels import LabelReader
from szilard.data.target_readers.quantities import QuantityReader
from szilard.data.target_readers.reader import TargetReader
from szilard.errors import SzilardError
from szilard.likelihood.targets import DataTargets

__all__ = ["CLASSES", "LABELS", "QUANTITIES", "TargetReader", "reader_of"]

CLASSES, LABELS, QUANTITIES = ClassReader(), LabelReader(), QuantityReader()

_READERS: dict[type[DataTargets], TargetReader] = {
    type(one.target_type): one for one in (CLASSES, LABELS, QUANTITIES)
}


def reader_of(target_type: DataTargets) -> TargetReader:
    """The reader of a type of targets.

    Raises:
        SzilardError: there is none.
    """
    found = _READERS.get(type(target_type))
    if found is None:
        raise SzilardError(
            f"targets of {target_type.name} cannot be read from files; add a reader to szilard.data.target_readers"
        )
    return found
