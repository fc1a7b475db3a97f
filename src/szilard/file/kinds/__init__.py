"""The kinds of records, one file each: a class of fields over :class:`szilard.file.fields.Fields`, and its record.

A new kind is a new file here and a line in :data:`KINDS` with the next number. From :data:`WIDE` on, the number is in a
column of varints, in files with the flag :data:`szilard.file.sections.WIDE`; a file without such a kind has no flag and
keeps its bytes. Products (``product.py``) have no number: they lie in two records of levels.
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

WIDE = 8  #: kinds below have three bits in a file's table, and all of these are taken

#: The kinds by number, in the order in which the columns of their own lie in the table. New ones go to the end.
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
        ValueError: it has none.
    """
    for found, one in KINDS.items():
        if one is kind:
            return found
    raise ValueError(f"{kind.__name__} has no number in szilard.file.kinds.KINDS")


def of_record(record: Record) -> type[Fields]:
    """The kind that writes a record.

    Raises:
        SzilardFileError: none does.
    """
    for kind in KINDS.values():
        if kind.record is not None and isinstance(record, kind.record):
            return kind
    raise SzilardFileError(f"{record.name} is no record that a file can hold; store it raw")
