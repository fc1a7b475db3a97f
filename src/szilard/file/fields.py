"""The fields of one record in the table, and the interface of every kind of record."""

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

Cost = tuple[float, float]  #: bits of a record's values, and bits of its scales and table
NO_BITS: Cost = (0.0, 0.0)  #: no bits in the streams
Row = dict[str, Any]  #: fields that are being read, by name

_LEVEL = 40  # decisions that a level can need; its 38 unary ones cost almost no bits if they are expected


@dataclass(frozen=True, slots=True)
class Fields:
    """One record's row of the table. Each kind of record is a subclass in its own file, in ``kinds/``.

    A kind defines the columns that it adds to the table, checks them after reading, and encodes and decodes records.
    The sizes that it declares are checked before anything is decoded, and bound the work and memory of a hostile file.

    Attributes:
        dtype: of the tensor; None for a kind that is not ``typed``.
    """

    dtype: DType | None = None
    shape: Shape = ()

    word: ClassVar[str]  #: its name in the ledger
    record: ClassVar[type[Record] | None] = None  #: the class of records that :meth:`encode` takes
    typed: ClassVar[bool] = True  #: whether its records have a type
    dimensions: ClassVar[int | None] = None  #: their number of dimensions, or None if it is in the table
    sized: ClassVar[bool] = True  #: whether the tables determine the exact bytes of its tensors

    @property
    def type(self) -> DType:
        """Type of a tensor's entries; raises for aliases and masks, which have none."""
        if self.dtype is None:
            raise TypeError(f"{type(self).__name__} has no type")
        return self.dtype

    @property
    def elements(self) -> int:
        """Number of entries of the tensor, or of the mask."""
        return math.prod(self.shape)

    # -- sizes ------------------------------------------------------------------------------------------

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
        """Upper bound on the decisions that a decoder takes for it."""
        return _LEVEL * self.symbols

    @property
    def output_bytes(self) -> int:
        """Bytes of the tensors of the record; an upper bound if it is not ``sized``."""
        return self.elements * self.type.size

    def tensors(self, name: str) -> tuple[str, ...]:
        """Names of the tensors of a record of this name."""
        return (name,)

    # -- the table --------------------------------------------------------------------------------------

    @classmethod
    def put_columns(cls, table: Sequence[Self]) -> bytes:
        """The columns of this kind alone, one after the other, for all of its records."""
        return b""

    @classmethod
    def take_columns(cls, rows: Sequence[Row], cursor: Cursor) -> None:
        """Read the columns of :meth:`put_columns` into the rows, with a limit on every number.

        Raises:
            Broken: :meth:`put_columns` cannot have written them.
        """

    def check(self) -> None:
        """Check that the columns are consistent; number, size and step have been checked before.

        Raises:
            Broken: they are not consistent.
        """

    # -- the record -------------------------------------------------------------------------------------

    @classmethod
    def encode(cls, record: Any, encoding: Encoding) -> tuple[Fields, Cost]:
        """Check a record, add it to the hash and write it to the parts of a file.

        It can be written as another kind if that takes fewer bytes.

        Args:
            record: of the class :attr:`record`.

        Raises:
            SzilardFileError: it breaks a rule of the format.
        """
        raise NotImplementedError

    def decode(self, name: str, decoding: Decoding) -> tuple[Record | None, Cost]:
        """The next record, added to the hash; None if it is not kept.

        Raises:
            Broken: :meth:`encode` cannot have written the parts.
            CodingError: likewise.
        """
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class SteppedFields(Fields):
    """A record with a step, which is a common column of all kinds with steps.

    Attributes:
        step: its code, see :mod:`szilard.file.steps`.
    """

    step: int = 0
