"""The kinds of records, one file each: a subclass of :class:`szilard.file.fields.Fields`, and its record.

A new kind is a new file here and a line in :data:`KINDS` with the next number. From :data:`WIDE` on, the number is in a
column of varints, in files with the flag :data:`szilard.file.sections.WIDE`; a file without such a kind has no flag and
keeps its bytes. Products (``product.py``) have no number: they are stored as two records of levels.
"""

from __future__ import annotations

from szilard.file.error import SzilardFileError
from szilard.file.fields import Fields
from szilard.file.kinds.alias import Alias, AliasFields
from szilard.file.kinds.constant import Constant, ConstantFields
from szilard.file.kinds.full_mask import FullMaskFields
from szilard.file.kinds.levels import Levels, LevelsFields
from szilard.file.kinds.mask import Mask, MaskFields
from szilard.file.kinds.planes import PlanesFields
from szilard.file.kinds.product import Product
from szilard.file.kinds.random import Random, RandomFields
from szilard.file.kinds.raw import Raw, RawFields
from szilard.file.records import Record

__all__ = [
    "KINDS",
    "WIDE",
    "Alias",
    "Constant",
    "Levels",
    "Mask",
    "Product",
    "Random",
    "Raw",
    "number",
    "of_record",
]

WIDE = 8  #: kinds below have three bits in a file's table, and all eight are in use

#: The kinds by number, which is also the order of their columns in the table. Add new ones at the end.
KINDS: dict[int, type[Fields]] = {
    4: LevelsFields,
    1: PlanesFields,
    3: AliasFields,
    2: ConstantFields,
    7: RandomFields,
    0: RawFields,
    5: MaskFields,
    6: FullMaskFields,
}


def number(kind: type[Fields]) -> int:
    """The number of a kind in a file.

    Raises:
        ValueError: it has no number.
    """
    for found, one in KINDS.items():
        if one is kind:
            return found
    raise ValueError(f"{kind.__name__} has no number in szilard.file.kinds.KINDS")


def of_record(record: Record) -> type[Fields]:
    """The kind that writes a record.

    Raises:
        SzilardFileError: no kind does.
    """
    for kind in KINDS.values():
        if kind.record is not None and isinstance(record, kind.record):
            return kind
    raise SzilardFileError(f"{record.name} is not a record that a file can store; store it raw")
