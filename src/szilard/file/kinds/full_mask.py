"""Kind 6, full mask: a support in which every entry exists, or which has no entries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from szilard.file.decoding import Decoding
from szilard.file.encoding import Encoding, size_of
from szilard.file.error import SzilardFileError
from szilard.file.fields import NO_BITS, Cost, Fields
from szilard.file.kinds.mask import MOST_MASK, Mask, MaskFields, check_size, support_bytes, support_names
from szilard.file.records import Record


@dataclass(frozen=True, slots=True)
class FullMaskFields(Fields):
    """The fields of a full support, which is stored in the table alone."""

    word: ClassVar[str] = "support"
    record: ClassVar[type[Record]] = Mask
    typed: ClassVar[bool] = False
    dimensions: ClassVar[int | None] = 2

    @property
    def output_bytes(self) -> int:
        """As :attr:`Fields.output_bytes`."""
        return support_bytes(self.shape[0], self.elements)

    def tensors(self, name: str) -> tuple[str, ...]:
        """As :meth:`Fields.tensors`."""
        return support_names(name)

    def check(self) -> None:
        """As :meth:`Fields.check`."""
        check_size(self.elements)

    @classmethod
    def encode(cls, record: Mask, encoding: Encoding) -> tuple[Fields, Cost]:
        """As :meth:`Fields.encode`; as kind 5 if an entry is missing."""
        if record.mask.shape != record.shape or len(record.shape) != 2 or record.mask.dtype != bool:
            raise SzilardFileError(
                f"the mask of {record.name} must be a bool matrix of its shape; fix the record"
            )
        if size_of(record.name, record.shape) > MOST_MASK:
            raise SzilardFileError(
                f"the support {record.name} has more than {MOST_MASK} entries; split the weight"
            )
        full = bool(record.mask.all())
        encoding.content.mask(record.name, record.shape, None if full else record.mask)
        if full:
            return cls(None, record.shape), NO_BITS
        encoding.held.append(support_bytes(record.shape[0], int(np.count_nonzero(record.mask))))
        return MaskFields(None, record.shape), (encoding.adaptive.mask(record.mask), 0.0)

    def decode(self, name: str, decoding: Decoding) -> tuple[Record | None, Cost]:
        """As :meth:`Fields.decode`."""
        decoding.content.mask(name, self.shape, None)
        # A view of one entry, which takes no memory for a support of any size.
        return Mask(name, self.shape, np.broadcast_to(np.True_, self.shape)), NO_BITS
