"""What the table of fields says of one record, and what every kind of record can do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from szilard.file.cursor import Cursor
from szilard.file.decoding import Decoding
from szilard.file.dtypes import DType
from szilard.file.encoding import Encoding
from szilard.file.pieces import Shape
from szilard.file.records import Record

Cost = tuple[float, float]  #: bits of a record's values, and of its scales and table
FREE: Cost = (0.0, 0.0)  #: nothing in the streams
Row = dict[str, Any]  #: fields that are being read, by name

_LEVEL = 40  # decisions that a level may need: its 38 unary ones cost next to nothing where they are expected


@dataclass(frozen=True, slots=True)
class Fields:
    """One record's line of the table. Each kind of record is a subclass in a file of its own, in ``kinds/``.

    A kind says which columns it adds to the table, checks what it has read of them, encodes records and decodes them.
    What it says of sizes is asked before anything is decoded, and bounds what a hostile file can make a reader do.

    Attributes:
        dtype: of the tensor; None for a kind that is not ``typed``.
    """

    dtype: DType | None = None
    shape: Shape = ()

    word: ClassVar[str]  #: what the ledger calls it
    record: ClassVar[type[Record] | None] = (
        None  #: the class of records that a writer gives to :meth:`encode`
    )
    typed: ClassVar[bool] = True  #: whether its records have a type
    dimensions: ClassVar[int | None] = None  #: how many they have, or None where the table says that
    sized: ClassVar[bool] = True  #: whether the tables tell the exact bytes of its tensors

    @property
    def type(self) -> DType:
        """Of a tensor's entries; aliases and masks have none, and nobody asks them."""
        if self.dtype is None:
            raise TypeError(f"{type(self).__name__} has no type")
        return self.dtype

    @property
    def elements(self) -> int:
        """Entries of the tensor, or of the mask."""
        return math.prod(self.shape)

    # -- the account ------------------------------------------------------------------------------------

    @property
    def symbols(self) -> int:
        """Integers of the record that are in the adaptive stream."""
        return 0

    @property
    def static_symbols(self) -> int:
        """Integers of the record that are in the static stream."""
        return 0

    @property
    def raw_bytes(self) -> int:
        """Bytes of the record in the raw part."""
        return 0

    @property
    def decisions(self) -> int:
        """Decisions that a decoder may have to take for it, at most."""
        return _LEVEL * self.symbols

    @property
    def output_bytes(self) -> int:
        """Bytes of the tensors that the record stands for; of one that is not ``sized``, the most that they can be."""
        return self.elements * self.type.size

    def tensors(self, name: str) -> tuple[str, ...]:
        """Names of the tensors that a record of this name stands for."""
        return (name,)

    # -- the table --------------------------------------------------------------------------------------

    @classmethod
    def put_columns(cls, table: Sequence[Self]) -> bytes:
        """The columns that only this kind has, one after the other, for all of its records."""
        return b""

    @classmethod
    def take_columns(cls, rows: Sequence[Row], cursor: Cursor) -> None:
        """Undo :meth:`put_columns` into the rows, with a limit on every number.

        Raises:
            Broken: they are not what it can have written.
        """

    def check(self) -> None:
        """Whether the columns fit together; number, size and step have been checked.

        Raises:
            Broken: they do not.
        """

    # -- the record -------------------------------------------------------------------------------------

    @classmethod
    def encode(cls, record: Any, encoding: Encoding) -> tuple[Fields, Cost]:
        """Check a record, take it into the hash and put it into the parts of a file.

        It may come out as another kind, where that takes fewer bytes.

        Args:
            record: of the class :attr:`record`.

        Raises:
            SzilardFileError: it breaks a rule of the format.
        """
        raise NotImplementedError

    def decode(self, name: str, decoding: Decoding) -> tuple[Record | None, Cost]:
        """The next record, taken into the hash; None where nothing of it is to be kept.

        Raises:
            Broken: the parts do not hold what :meth:`encode` can have written.
            CodingError: likewise.
        """
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class SteppedFields(Fields):
    """One record with a step: a column that all kinds with steps share.

    Attributes:
        step: its code, see :mod:`szilard.file.steps`.
    """

    step: int = 0
