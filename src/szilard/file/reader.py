"""Bytes to a document, whatever the bytes are: all of it or an error, and no more memory than they are worth.

The order is: the hash of the file, the tables with a bound on every number, the bounds on what the streams can hold and
on what may come out, the streams, the hash of the content. Only then is anything made that a few bytes can make large.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from szilard.coding import CodingError, Decoder
from szilard.coding.static import StaticDecoder
from szilard.file import dtypes, layout, levels, meta, names, random, raw
from szilard.file.digest import Content
from szilard.file.error import Broken, SzilardFileError
from szilard.file.fields import Fields, Kind
from szilard.file.fields import unpack as unpack_fields
from szilard.file.layout import Parts
from szilard.file.records import Alias, Constant, Document, Levels, Mask, Random, Raw, Record, tensor_names

MOST_OUTPUT = 8 << 30  #: bytes of tensors that a file may hold, unless the caller says otherwise

#: The most integers that a byte of a stream can hold: each costs at least -log2(1 - 64/65536) = 0.0014 bit.
_MOST_SYMBOLS = 5700
_UNWRITTEN = 8  # bytes at the end of a stream that a coder need not write, and some

T = TypeVar("T")


@dataclass(frozen=True)
class Tables:
    """A file without its tensors.

    Attributes:
        parts: its parts.
        names: of the records.
        fields: of the records.
        meta: the metadata.
    """

    parts: Parts
    names: list[str]
    fields: list[Fields]
    meta: dict[str, Any]

    @property
    def output_bytes(self) -> int:
        """Bytes of all tensors; of a coded support, the most that they can be."""
        return sum(fields.output_bytes for fields in self.fields)


def read(path: str | Path, *, max_bytes: int = MOST_OUTPUT) -> Document:
    """Read a file into numpy arrays; torch is not needed.

    Args:
        max_bytes: refuse a file whose tensors take more.

    Raises:
        SzilardFileError: it is not there, or no whole and valid file.
    """
    return open_file(path, lambda data: decode(tables(data), max_bytes))


def loads(data: bytes, *, max_bytes: int = MOST_OUTPUT) -> Document:
    """As :func:`read`, from bytes."""
    return told("the .szd file", lambda: decode(tables(data), max_bytes))


def open_file(path: str | Path, use: Callable[[bytes], T]) -> T:
    """Do something with a file's bytes, and say which file it was if they are broken.

    Raises:
        SzilardFileError: the file is not there, cannot be read, does not begin as one, or ``use`` finds it broken.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise SzilardFileError(f"{path} {what}; name a .szd file")
    try:
        with open(path, "rb") as file:
            start = file.read(4)
            told(str(path), lambda: layout.check_magic(start))
            data = start + file.read()
    except OSError as error:
        raise SzilardFileError(
            f"{path} cannot be read ({error.strerror or error}); check the file"
        ) from error
    return told(str(path), lambda: use(data))


def told(what: str, use: Callable[[], T]) -> T:
    """Run ``use``; its :class:`Broken` becomes a sentence for the user."""
    try:
        return use()
    except Broken as error:
        hint = "" if "; " in str(error) else "; get it again from where it came"
        raise SzilardFileError(f"{what} cannot be opened: {error}{hint}") from error


def tables(data: bytes) -> Tables:
    """Everything but the tensors.

    Raises:
        Broken: the bytes are no valid file as far as this can be seen without decoding.
    """
    parts = layout.split(data)
    found_names = names.unpack(parts.names, parts.count)
    found_fields = unpack_fields(parts.fields, parts.count)
    if sum(fields.raw_bytes for fields in found_fields) != len(parts.raw):
        raise Broken("its raw bytes are not as many as its tensors have")
    _check_stream(len(parts.adaptive), sum(fields.symbols for fields in found_fields))
    _check_stream(len(parts.static), sum(fields.static_symbols for fields in found_fields))
    return Tables(parts, found_names, found_fields, meta.unpack(parts.meta))


def _check_stream(length: int, symbols: int) -> None:
    if symbols > _MOST_SYMBOLS * (length + _UNWRITTEN):
        raise Broken("it promises more levels than its stream can hold")
    if length and not symbols:
        raise Broken("it has a stream that nobody reads")


def decode(tables: Tables, max_bytes: int) -> Document:
    """The tensors.

    Raises:
        Broken: they would take more than ``max_bytes``, the stream is broken or the hash of the content is another.
    """
    if tables.output_bytes > max_bytes:
        raise Broken(
            f"its tensors take {tables.output_bytes} bytes and {max_bytes} are allowed; allow more with max_bytes"
        )
    try:
        reader = _Reader(tables.parts)
        records = [
            reader.take(name, fields) for name, fields in zip(tables.names, tables.fields, strict=True)
        ]
        reader.finish()
    except CodingError as error:
        raise Broken("its coded levels are damaged") from error
    if reader.content.digest() != tables.parts.content:
        raise Broken("its tensors are not those that were written: their hash is another")
    return Document(records, tables.meta)


class _Reader:
    """Gives records one by one."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.adaptive = Decoder(parts.adaptive)
        self.static = StaticDecoder(parts.static)
        self.content = Content()
        self._at = 0  # in the raw bytes
        self._names: list[str] = []  # of the tensors that came before
        self._known: set[str] = set()
        self._aliases: set[str] = set()

    def take(self, name: str, fields: Fields) -> Record:
        """The next record."""
        record = _TAKE[fields.kind](self, name, fields)
        for tensor in tensor_names(record):
            if tensor in self._known:
                raise Broken("two tensors have the same name")
            self._known.add(tensor)
            self._names.append(tensor)
        return record

    def finish(self) -> None:
        """Nothing may be left in the streams."""
        if self.parts.adaptive:
            self.adaptive.finish()
        self.static.finish()

    def raw(self, name: str, fields: Fields) -> Raw:
        assert fields.dtype is not None
        block: bytes | memoryview = self._raw_bytes(fields)
        if fields.kind == Kind.PLANES:
            block = raw.unpack(bytes(block), fields.elements, fields.dtype.size)
        if fields.dtype.name == "bool" and np.frombuffer(block, np.uint8).max(initial=0) > 1:
            raise Broken("a bool tensor holds something else")
        value = np.frombuffer(block, fields.dtype.carrier).reshape(fields.shape)
        self.content.tensor(name, fields.dtype, value)
        return Raw(name, fields.dtype.name, fields.shape, block)

    def constant(self, name: str, fields: Fields) -> Constant:
        assert fields.dtype is not None
        if fields.dtype.name == "bool" and fields.data not in (b"\0", b"\1"):
            raise Broken("a bool tensor holds something else")
        self.content.constant(name, fields.dtype, fields.shape, fields.data)
        return Constant(name, fields.dtype.name, fields.shape, fields.data)

    def alias(self, name: str, fields: Fields) -> Alias:
        if fields.target >= len(self._names) or self._names[fields.target] in self._aliases:
            raise Broken("a tensor shares one that is not before it")
        self._aliases.add(name)
        self.content.alias(name, fields.target)
        return Alias(name, self._names[fields.target])

    def levels(self, name: str, fields: Fields) -> Levels:
        assert fields.dtype is not None
        record = levels.take(self.adaptive, self.static, name, fields)
        value = record.value()
        if not dtypes.all_finite(value, fields.dtype):
            raise Broken("a tensor of levels is beyond its type")
        self.content.tensor(name, fields.dtype, value)
        return record

    def random(self, name: str, fields: Fields) -> Random:
        assert fields.dtype is not None
        indices = random.unpack(self._raw_bytes(fields), fields.blocks, fields.bits)
        if indices is None:
            raise Broken("a tensor of random levels has bits left over")
        record = Random(
            name, fields.dtype.name, fields.shape, indices, fields.step, fields.seed, fields.bits, fields.size
        )
        value = record.value()
        if not dtypes.all_finite(value, fields.dtype):
            raise Broken("a tensor of random levels is beyond its type")
        self.content.tensor(name, fields.dtype, value)
        return record

    def _raw_bytes(self, fields: Fields) -> bytes:
        """Those of the next record."""
        self._at += fields.raw_bytes
        return self.parts.raw[self._at - fields.raw_bytes : self._at]

    def mask(self, name: str, fields: Fields) -> Mask:
        rows, cols = fields.shape
        full = fields.kind == Kind.FULL_MASK
        # A view of one entry takes no memory, however large the support.
        mask = np.broadcast_to(np.True_, (rows, cols)) if full else self.adaptive.mask(rows, cols)
        self.content.mask(name, fields.shape, None if full else mask)
        return Mask(name, fields.shape, mask)


_TAKE: dict[Kind, Callable[[_Reader, str, Fields], Record]] = {
    Kind.RAW: _Reader.raw, Kind.PLANES: _Reader.raw, Kind.CONSTANT: _Reader.constant, Kind.ALIAS: _Reader.alias,
    Kind.LEVELS: _Reader.levels, Kind.MASK: _Reader.mask, Kind.FULL_MASK: _Reader.mask, Kind.RANDOM: _Reader.random,
}  # fmt: skip
