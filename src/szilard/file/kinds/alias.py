"""Kind 3, alias: a tensor that shares its storage with an earlier one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from szilard.file.cursor import Cursor, varints
from szilard.file.decoding import Decoding
from szilard.file.encoding import Encoding
from szilard.file.error import SzilardFileError
from szilard.file.fields import NO_BITS, Cost, Fields, Row
from szilard.file.limits import MOST_RECORDS
from szilard.file.records import Record


@dataclass(frozen=True, eq=False)
class Alias(Record):
    """A tensor that shares its storage with an earlier one, such as a tied weight.

    Attributes:
        target: name of the earlier tensor.
    """

    target: str


@dataclass(frozen=True, slots=True)
class AliasFields(Fields):
    """The number of the earlier tensor, in the table. Whether it can be shared is checked when all names are known.

    Attributes:
        target: its number among all tensors of the file.
    """

    target: int = 0

    word: ClassVar[str] = "alias"
    record: ClassVar[type[Record]] = Alias
    typed: ClassVar[bool] = False
    dimensions: ClassVar[int | None] = 0

    @property
    def elements(self) -> int:
        """0, because it has no entries of its own."""
        return 0

    @property
    def output_bytes(self) -> int:
        """As :attr:`Fields.output_bytes`."""
        return 0

    @classmethod
    def put_columns(cls, table: Sequence[Self]) -> bytes:
        """As :meth:`Fields.put_columns`."""
        return varints(fields.target for fields in table)

    @classmethod
    def take_columns(cls, rows: Sequence[Row], cursor: Cursor) -> None:
        """As :meth:`Fields.take_columns`."""
        for row in rows:
            row["target"] = cursor.varint(2 * MOST_RECORDS)

    @classmethod
    def encode(cls, record: Alias, encoding: Encoding) -> tuple[Fields, Cost]:
        """As :meth:`Fields.encode`."""
        if record.target not in encoding.numbers or record.target in encoding.aliases:
            raise SzilardFileError(
                f"{record.name} shares {record.target}, which is not an earlier tensor with its own storage; name one"
            )
        encoding.aliases.add(record.name)
        number = encoding.numbers[record.target]
        encoding.content.alias(record.name, number)
        return cls(target=number), NO_BITS

    def decode(self, name: str, decoding: Decoding) -> tuple[Record | None, Cost]:
        """As :meth:`Fields.decode`."""
        decoding.content.alias(name, self.target)
        return Alias(name, decoding.tensors[self.target]), NO_BITS
