"""What the kinds read from: the streams, the raw bytes and the hash of one file."""

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
    """What is kept of each record once it has been decoded and hashed."""

    RECORDS = "records"  # what the file holds
    VALUES = "values"  # the tensors that come out
    NOTHING = "nothing"


class Decoding:
    """One file while it is read; kinds are called record by record, in order.

    Args:
        adaptive, static, raw: parts of the file (:class:`szilard.file.sections.Parts`).
        tensors: names of all tensors by number, which aliases name.
        keep: what records are made of.
        priced: whether the streams count what their integers cost.

    Attributes:
        adaptive: the stream of integers under models that learn.
        static: the stream of integers under tables.
        content: the hash of what comes out.
        held: exact bytes of the tensors whose size the tables leave open (:attr:`szilard.file.fields.Fields.sized`).
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

    def raw_into(self, room: np.ndarray) -> None:
        """As :meth:`raw`, into an array of bytes."""
        self._raw.into(self._at, room)
        self._at += len(room)

    def raw_pieces(self, count: int) -> Iterator[bytes | memoryview]:
        """As :meth:`raw`, in pieces that hold whole entries, of which no two are in memory together."""
        begun = self._at
        self._at += count
        for start, stop in spans(begun, self._at):
            yield self._raw.take(start, stop)

    def finish(self) -> None:
        """Nothing may be left in the streams.

        Raises:
            CodingError: something is.
        """
        if self._has_adaptive:
            self.adaptive.finish()
        self.static.finish()


def spans(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """A stretch of bytes in pieces that hold whole entries."""
    return ((at, min(at + PIECE, stop)) for at in range(start, stop, PIECE))


def checked_bool(piece: np.ndarray) -> np.ndarray:
    """Bytes of a bool tensor.

    Raises:
        Broken: one is neither 0 nor 1.
    """
    if piece.view(np.uint8).max(initial=0) > 1:
        raise Broken("a bool tensor holds something else")
    return piece
