"""The source of the kinds of records: the streams, the raw bytes and the hash of one file."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence

import numpy as np

from szilard.coding import Decoder
from szilard.coding.static import StaticDecoder
from szilard.file.digest import Content
from szilard.file.error import Broken
from szilard.file.source import PIECE, Source


class Keep(enum.Enum):
    """What is kept of each record after it has been decoded and hashed."""

    RECORDS = "records"  # the records of the file
    VALUES = "values"  # the decoded tensors
    NOTHING = "nothing"


class Decoding:
    """The state of reading one file; kinds are called record by record, in order.

    Args:
        adaptive, static, raw: parts of the file (:class:`szilard.file.sections.Parts`).
        tensors: names of all tensors by number, for aliases.
        keep: what to keep of each record.
        priced: whether the streams count the code length of their integers.

    Attributes:
        adaptive: the stream of integers under adaptive models.
        static: the stream of integers under tables.
        content: the hash of the decoded tensors.
        held: exact bytes of the tensors whose size is not in the tables (:attr:`szilard.file.fields.Fields.sized`).
    """

    def __init__(
        self,
        adaptive: bytes,
        static: bytes,
        raw: bytes | memoryview | Source,
        tensors: Sequence[str],
        keep: Keep,
        *,
        priced: bool = False,
    ) -> None:
        self.tensors = tensors
        self.keep = keep
        self.adaptive = Decoder(adaptive, priced=priced)
        self.static = StaticDecoder(static, priced=priced)
        self.content = Content()
        self.held: list[int] = []
        self._has_adaptive = bool(adaptive)
        self._raw = raw if isinstance(raw, Source) else Source(raw)
        self._at = 0  # in the raw bytes

    def raw(self, count: int) -> bytes | memoryview:
        """The next bytes of the raw part."""
        self._at += count
        return self._raw.take(self._at - count, self._at)

    def raw_into(self, buffer: np.ndarray) -> None:
        """As :meth:`raw`, into an array of bytes."""
        self._raw.into(self._at, buffer)
        self._at += len(buffer)

    def raw_pieces(self, count: int) -> Iterator[bytes | memoryview]:
        """As :meth:`raw`, in pieces of whole entries, of which only one is in memory at a time."""
        begun = self._at
        self._at += count
        for start, stop in spans(begun, self._at):
            yield self._raw.take(start, stop)

    def finish(self) -> None:
        """Check that nothing is left in the streams.

        Raises:
            CodingError: something is left.
        """
        if self._has_adaptive:
            self.adaptive.finish()
        self.static.finish()


def spans(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """A range of bytes in pieces of whole entries."""
    return ((at, min(at + PIECE, stop)) for at in range(start, stop, PIECE))


def checked_bool(piece: np.ndarray) -> np.ndarray:
    """The bytes of a bool tensor, checked.

    Raises:
        Broken: one is neither 0 nor 1.
    """
    if piece.view(np.uint8).max(initial=0) > 1:
        raise Broken("a bool tensor has a value other than 0 and 1")
    return piece
