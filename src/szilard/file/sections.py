"""The parts of a file, end to end."""

from __future__ import annotations

from dataclasses import dataclass

from szilard.file import digest
from szilard.file.cursor import Cursor, varint
from szilard.file.error import Broken
from szilard.file.limits import MOST_RECORDS
from szilard.file.source import Source

MAGIC = b"SZD1"
TRAILER = digest.CONTENT_BYTES + digest.FILE_BYTES
PRODUCTS = 0x10  #: a flag: the content's hash is of products, not of their factors
WIDE = 0x20  #: a flag: numbers of kinds are varints, and one does not fit into three bits
_CRITICAL = 0xF0  # flags that a reader must know
_KNOWN = PRODUCTS | WIDE
_LONGEST_PREFIX = 64


@dataclass(frozen=True)
class Parts:
    """The parts as bytes, in their order in a file; the prefix in front has the lengths of all but the last.

    Attributes:
        count: how many records there are.
        names, fields, meta: deflated blocks; ``meta`` can be empty.
        adaptive: integers under adaptive models.
        static: integers under tables.
        raw: bytes of other tensors; for a file on disk, they have not been read yet.
        content: hash of the tensors.
        flags: a byte of flags, of which a reader must know the upper four.
    """

    count: int
    names: bytes
    fields: bytes
    meta: bytes
    adaptive: bytes
    static: bytes
    raw: bytes | memoryview | Source
    content: bytes
    flags: int = 0

    @property
    def prefix(self) -> bytes:
        lengths = (len(block) for block in (self.names, self.fields, self.meta, self.adaptive, self.static))
        return MAGIC + bytes([self.flags]) + varint(self.count) + b"".join(map(varint, lengths))


def join(parts: Parts) -> bytes:
    """The file."""
    tables = parts.prefix + parts.names + parts.fields + parts.meta
    raw = parts.raw.take(0, len(parts.raw)) if isinstance(parts.raw, Source) else parts.raw
    body = (tables, parts.adaptive, parts.static, raw, parts.content)
    return b"".join((*body, digest.of_file(*body)))


def split(data: bytes | Source) -> Parts:
    """Check the hash of a file and split it into its parts.

    Raises:
        Broken: it is not such a file, or its parts do not fit into it.
    """
    source = data if isinstance(data, Source) else Source(data)
    check_magic(bytes(source.take(0, min(len(source), len(MAGIC)))))
    if len(source) < len(MAGIC) + TRAILER:
        raise Broken("it is cut short")
    body = len(source) - digest.FILE_BYTES
    if digest.of_source(source, body) != source.take(body, len(source)):
        raise Broken("it is cut short or damaged: its bytes do not match its hash")
    end = len(source) - TRAILER
    cursor = Cursor(bytes(source.take(len(MAGIC), min(end, _LONGEST_PREFIX))), "the prefix")
    flags = cursor.take(1)[0]
    if flags & _CRITICAL & ~_KNOWN:
        raise Broken(
            "it uses a feature that this version of szilard does not know; update szilard to read it"
        )
    count = cursor.varint(MOST_RECORDS)
    lengths = [cursor.varint(end) for _ in range(5)]
    at = len(MAGIC) + cursor.at
    if at + sum(lengths) > end:
        raise Broken("its parts are longer than the file")
    ends = [at + sum(lengths[: number + 1]) for number in range(len(lengths))]
    names, fields, meta, adaptive, static = (
        bytes(source.take(stop - length, stop)) for stop, length in zip(ends, lengths, strict=True)
    )
    content = bytes(source.take(end, body))
    raw = source.part(ends[-1], end) if source is data else source.take(ends[-1], end)
    return Parts(count, names, fields, meta, adaptive, static, raw, content, flags)


def check_magic(start: bytes) -> None:
    """Check the first four bytes.

    Raises:
        Broken: they are not this format's.
    """
    if start[:3] != MAGIC[:3]:
        raise Broken("it is not a .szd file; name one that szilard wrote")
    if start[:4] != MAGIC:
        raise Broken("it has another version of the format; update szilard to read it")
