"""The parts of a file, end to end."""

from __future__ import annotations

from dataclasses import dataclass

from szilard.file import digest
from szilard.file.cursor import Cursor, varint
from szilard.file.error import Broken
from szilard.file.fields import MOST_RECORDS

MAGIC = b"SZD1"
TRAILER = digest.CONTENT_BYTES + digest.FILE_BYTES
_CRITICAL = 0xF0  # flags that a reader must know; none has a meaning yet
_LONGEST_PREFIX = 64


@dataclass(frozen=True)
class Parts:
    """The parts as bytes, in their order in a file; the prefix in front gives their lengths but the last's.

    Attributes:
        count: how many records there are.
        names, fields, meta: deflated blocks; ``meta`` may be empty.
        adaptive: integers under models that learn.
        static: integers under tables.
        raw: bytes of other tensors.
        content: hash of the tensors.
    """

    count: int
    names: bytes
    fields: bytes
    meta: bytes
    adaptive: bytes
    static: bytes
    raw: bytes
    content: bytes

    @property
    def prefix(self) -> bytes:
        lengths = (len(block) for block in (self.names, self.fields, self.meta, self.adaptive, self.static))
        return MAGIC + b"\0" + varint(self.count) + b"".join(map(varint, lengths))


def join(parts: Parts) -> bytes:
    """The file."""
    tables = parts.prefix + parts.names + parts.fields + parts.meta
    body = tables + parts.adaptive + parts.static + parts.raw + parts.content
    return body + digest.of_file(body)


def split(data: bytes) -> Parts:
    """The parts of a file whose hash is right.

    Raises:
        Broken: it is no such file, or its parts do not fit into it.
    """
    check_magic(data)
    if len(data) < len(MAGIC) + TRAILER:
        raise Broken("it is cut short")
    body = memoryview(data)[: -digest.FILE_BYTES]
    if digest.of_file(body) != data[-digest.FILE_BYTES :]:
        raise Broken("it is cut short or damaged: its hash is not what it says")
    end = len(data) - TRAILER
    cursor = Cursor(data[len(MAGIC) : min(end, _LONGEST_PREFIX)], "the prefix")
    if cursor.take(1)[0] & _CRITICAL:
        raise Broken("it needs something that this version of szilard does not know")
    count = cursor.varint(MOST_RECORDS)
    lengths = [cursor.varint(end) for _ in range(5)]
    at = len(MAGIC) + cursor.at
    if at + sum(lengths) > end:
        raise Broken("its parts are longer than it is")
    ends = [at + sum(lengths[: number + 1]) for number in range(len(lengths))]
    names, fields, meta, adaptive, static = (
        data[stop - length : stop] for stop, length in zip(ends, lengths, strict=True)
    )
    content = data[end : end + digest.CONTENT_BYTES]
    return Parts(count, names, fields, meta, adaptive, static, data[ends[-1] : end], content)


def check_magic(start: bytes) -> None:
    """Look at the first four bytes.

    Raises:
        Broken: they are not this format's.
    """
    if start[:3] != MAGIC[:3]:
        raise Broken("it is no .szd file; name one that szilard wrote")
    if start[:4] != MAGIC:
        raise Broken("it is of another version of the format; update szilard to read it")
