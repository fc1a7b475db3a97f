"""Bytes to a document, whatever the bytes are: all of it or an error, and no more memory than they are worth.

The order is: the hash of the file, the tables with a bound on every number, the bounds on what the streams can hold and
on what may come out, the streams, the hash of the content. Only then is anything made that a few bytes can make large.
Whatever is large is made piece by piece, in the memory that it was decoded into: beside what comes out, reading takes
at most half of it, and 64 MiB.
"""

from __future__ import annotations

import enum
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import numpy as np

from szilard.coding import CodingError, Decoder, Model
from szilard.coding.static import StaticDecoder
from szilard.file import dtypes, inplace, levels, meta, names, products, random, raw, sections
from szilard.file.digest import Content
from szilard.file.error import Broken, SzilardFileError, printable
from szilard.file.fields import Fields, Kind
from szilard.file.fields import unpack as unpack_fields
from szilard.file.records import (
    Alias,
    Constant,
    Csr,
    Document,
    Levels,
    Mask,
    Product,
    Random,
    Raw,
    Record,
    Shape,
    Value,
    gathered,
)
from szilard.file.sections import Parts
from szilard.file.source import PIECE, Source, Stored
from szilard.kernels import native

MOST_OUTPUT = 8 << 30
"""Bytes of tensors that a file may hold, unless the caller says otherwise."""

#: The most integers that a byte of a stream can hold: each costs at least -log2(1 - 64/65536) = 0.0014 bit.
_MOST_SYMBOLS = 5700
_UNWRITTEN = 8  # bytes at the end of a stream that a coder need not write, and some

#: Decisions that the decoder in Python takes in about a minute, and how many a level may need: its 38 unary ones cost
#: next to nothing where they are expected.
_MOST_DECISIONS = 40_000_000
_LEVEL = 40

T = TypeVar("T")


class Keep(enum.Enum):
    """What is kept of each record once it has been decoded and hashed."""

    RECORDS = "records"  # what the file holds
    VALUES = "values"  # the tensors that come out
    NOTHING = "nothing"


@dataclass(frozen=True)
class Tables:
    """A file without its tensors.

    Attributes:
        parts: its parts.
        names: of the records.
        fields: of the records.
        meta: the metadata.
        products: name and shape of each product, by the number of the record that is its first factor.
        targets: name of the tensor that an alias shares, by the number of its record.
    """

    parts: Parts
    names: list[str]
    fields: list[Fields]
    meta: dict[str, Any]
    products: dict[int, tuple[str, Shape]]
    targets: dict[int, str]

    @property
    def output_bytes(self) -> int:
        """Bytes of all tensors; of a coded support, the most that they can be."""
        return sum(fields.output_bytes for fields in self.fields)


def read(path: str | Path, *, max_bytes: int = MOST_OUTPUT, slow: bool = False) -> Document:
    """Read a file into numpy arrays; torch is not needed.

    Args:
        path: of a ``.szd`` file.
        max_bytes: refuse a file whose tensors take more. Reading it takes at most half of that beside them, and 64 MiB.
        slow: read it even where that takes more than a minute, because there are no C++ kernels.

    Raises:
        SzilardFileError: it is not there, or no whole and valid file.
    """
    return open_file(path, lambda data: decode(tables(data), max_bytes, slow=slow))


def loads(data: bytes, *, max_bytes: int = MOST_OUTPUT, slow: bool = False) -> Document:
    """As :func:`read`, from bytes."""
    return told("the .szd file", lambda: decode(tables(bytes(data)), max_bytes, slow=slow))


def open_file(path: str | Path, use: Callable[[Source], T]) -> T:
    """Do something with a file's bytes, and say which file it was if they are broken.

    Raises:
        SzilardFileError: the file is not there, cannot be read, does not begin as one, or ``use`` finds it broken.
    """
    path = Path(os.fsdecode(path))
    shown = printable(str(path))
    try:
        with _opened(path) as file:
            return told(shown, lambda: _checked(file, use))
    except (OSError, ValueError) as error:  # a ValueError is a zero byte in the path
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            raise SzilardFileError(f"{shown} does not exist; name a .szd file") from error
        reason = printable(getattr(error, "strerror", None) or str(error))
        raise SzilardFileError(f"{shown} cannot be read ({reason}); check the file") from error


def _opened(path: Path) -> BinaryIO:
    """An ordinary file, opened for reading: a pipe would be waited for, and a device has no end."""
    if path.is_dir():
        raise SzilardFileError(f"{printable(str(path))} is a folder; name a .szd file")
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise SzilardFileError(f"{printable(str(path))} is a pipe or a device; copy it to a file first")
        return cast(BinaryIO, os.fdopen(number, "rb", buffering=0))
    except BaseException:
        os.close(number)
        raise


def _checked(file: BinaryIO, use: Callable[[Source], T]) -> T:
    source = Stored(file, 0, os.fstat(file.fileno()).st_size)
    sections.check_magic(source.take(0, min(len(source), len(sections.MAGIC))))
    return use(source)


def told(what: str, use: Callable[[], T]) -> T:
    """Run ``use``; its :class:`Broken` becomes a sentence for the user."""
    try:
        return use()
    except Broken as error:
        hint = "" if "; " in str(error) else "; get it again from where it came"
        raise SzilardFileError(f"{what} cannot be opened: {error}{hint}") from error
    except MemoryError as error:
        raise SzilardFileError(
            f"{what} cannot be opened: its tensors need more memory than there is; open it where there is more"
        ) from error


def tables(data: bytes | Source) -> Tables:
    """Everything but the tensors.

    Raises:
        Broken: the bytes are no valid file as far as this can be seen without decoding.
    """
    parts = sections.split(data)
    found_names = names.unpack(parts.names, parts.count)
    found_fields = unpack_fields(parts.fields, parts.count)
    if sum(fields.raw_bytes for fields in found_fields) != len(parts.raw):
        raise Broken("its raw bytes are not as many as its tensors have")
    _check_stream(len(parts.adaptive), sum(fields.symbols for fields in found_fields))
    _check_stream(len(parts.static), sum(fields.static_symbols for fields in found_fields))
    found_meta = meta.unpack(parts.meta)
    found_products = products.find(found_names, found_fields, found_meta)
    targets = _targets(found_names, found_fields, found_products)
    return Tables(parts, found_names, found_fields, found_meta, found_products, targets)


def _check_stream(length: int, symbols: int) -> None:
    if symbols > _MOST_SYMBOLS * (length + _UNWRITTEN):
        raise Broken("it promises more levels than its stream can hold")
    if length and not symbols:
        raise Broken("it has a stream that nobody reads")


def _targets(
    found_names: list[str], table: list[Fields], found_products: Mapping[int, tuple[str, Shape]]
) -> dict[int, str]:
    """The tensor that each alias shares; every tensor has a name of its own, whether or not products are taken.

    Raises:
        Broken: two have the same, or an alias shares no tensor before it that has its own storage.
    """
    tensors: list[str] = []
    shared: set[int] = (
        set()
    )  # numbers of those that are aliases themselves, or no tensors to whoever reads the file
    targets: dict[int, str] = {}
    for number, (name, fields) in enumerate(zip(found_names, table, strict=True)):
        if fields.kind == Kind.ALIAS:
            if fields.target >= len(tensors) or fields.target in shared:
                raise Broken("a tensor shares one that is not before it")
            targets[number] = tensors[fields.target]
            shared.add(len(tensors))
        elif number in found_products:
            shared |= {len(tensors), len(tensors) + 1}
        support = fields.kind in (Kind.MASK, Kind.FULL_MASK)
        tensors += [f"{name}.crow", f"{name}.col"] if support else [name]
    known = [*tensors, *(name for name, _ in found_products.values())]
    if len(set(known)) != len(known):
        raise Broken("two tensors have the same name")
    return targets


def decode(
    tables: Tables,
    max_bytes: int,
    *,
    keep: Keep = Keep.RECORDS,
    slow: bool = False,
    costs: list[tuple[float, float]] | None = None,
    give: Callable[[Record], None] | None = None,
    held: list[int] | None = None,
) -> Document:
    """The tensors.

    Args:
        keep: what the document holds of them. Of values that cannot be large without being constants or full supports,
            those are still to be made, by :func:`szilard.file.as_arrays.arrays`.
        slow: as :func:`read`.
        costs: is given the bits of each record's values, and of its scales and table, which makes decoding slower.
        give: is given each record as it is decoded, before the hash is compared; the document then has none.
        held: is given the number of entries of each coded support.

    Raises:
        Broken: they would take more than ``max_bytes``, the stream is broken or the hash of the content is another.
    """
    if tables.output_bytes > max_bytes:
        raise Broken(
            f"its tensors take {tables.output_bytes} bytes and {max_bytes} are allowed; allow more with max_bytes"
        )
    if not slow and not native.available() and _decisions(tables.fields) > _MOST_DECISIONS:
        raise Broken(
            f"without the C++ kernels it may take over a minute; {native.REINSTALL}, or ask for it with slow=True"
        )
    try:
        reader = _Reader(tables, keep, costs, held)
        records = reader.all(give)
        reader.finish()
    except CodingError as error:
        raise Broken("its coded levels are damaged") from error
    if reader.content.digest() != tables.parts.content:
        raise Broken("its tensors are not those that were written: their hash is another")
    return Document(records, products.without(tables.meta))


def _decisions(table: list[Fields]) -> int:
    """Decisions that the streams may hold, at most; a random entry costs about a half of one."""
    return sum(
        fields.symbols * (1 if fields.kind == Kind.MASK else _LEVEL)
        + (fields.elements // 2 if fields.kind == Kind.RANDOM else 0)
        for fields in table
    )


class _Reader:
    """Gives records one by one."""

    def __init__(
        self,
        tables: Tables,
        keep: Keep,
        costs: list[tuple[float, float]] | None,
        held: list[int] | None,
    ) -> None:
        parts = tables.parts
        self.tables = tables
        self.keep = keep
        self.costs = costs
        self.held = held
        self.adaptive = Decoder(parts.adaptive, priced=costs is not None)
        self.static = StaticDecoder(parts.static, priced=costs is not None)
        self.content = Content()
        self._raw = parts.raw if isinstance(parts.raw, Source) else Source(parts.raw)
        self._at = 0  # in the raw bytes

    def all(self, give: Callable[[Record], None] | None = None) -> list[Record]:
        """All records in order, products in place of their factors; or give them away."""
        found: list[Record] = []
        table = list(zip(self.tables.names, self.tables.fields, strict=True))
        number = 0
        while number < len(table):
            if number in self.tables.products:
                record: Record | None = self._product(number)
                number += 2
            else:
                record = self._take(number, *table[number])
                number += 1
            if record is not None and give is not None:
                give(record)
            elif record is not None and self.keep != Keep.NOTHING:
                found.append(record)
            del record
        return found

    def finish(self) -> None:
        """Nothing may be left in the streams."""
        if self.tables.parts.adaptive:
            self.adaptive.finish()
        self.static.finish()

    def _take(self, number: int, name: str, fields: Fields) -> Record | None:
        if fields.kind == Kind.LEVELS:
            return self._levels(self._decoded(name, fields))
        self._costs(0.0, 0.0)
        if fields.kind == Kind.ALIAS:
            self.content.alias(name, fields.target)
            return Alias(name, self.tables.targets[number])
        take = {
            Kind.RAW: self._exact, Kind.PLANES: self._planes, Kind.CONSTANT: self._constant,
            Kind.MASK: self._mask, Kind.FULL_MASK: self._full_mask, Kind.RANDOM: self._random,
        }[fields.kind]  # fmt: skip
        return take(name, fields)

    def _exact(self, name: str, fields: Fields) -> Record | None:
        start = self._at
        self._at += fields.raw_bytes
        if self.keep == Keep.NOTHING:
            self._hash_raw(name, fields, (self._raw.take(at, end) for at, end in _spans(start, self._at)))
            return None
        data: bytes | memoryview | None = None
        if self.keep == Keep.VALUES:
            room = np.empty(fields.raw_bytes, np.uint8)
            self._raw.into(start, room)
            data = room.data
        else:
            data = self._raw.take(start, self._at)
        return self._whole(name, fields, data)

    def _planes(self, name: str, fields: Fields) -> Record | None:
        entries = raw.unpack(self._raw_bytes(fields), fields.elements, fields.type.size)
        return self._whole(name, fields, entries.reshape(-1).data)

    def _whole(self, name: str, fields: Fields, data: bytes | memoryview) -> Record | None:
        self._hash_raw(name, fields, (data[at:end] for at, end in _spans(0, len(data))))
        if self.keep == Keep.VALUES:
            return Value(
                name, fields.type.name, np.frombuffer(data, fields.type.carrier).reshape(fields.shape)
            )
        return Raw(name, fields.type.name, fields.shape, data)

    def _hash_raw(self, name: str, fields: Fields, spans: Iterator[bytes | memoryview]) -> None:
        carrier = fields.type.carrier
        pieces: Iterator[np.ndarray] = (np.frombuffer(span, carrier) for span in spans)
        if fields.type.name == "bool":
            pieces = map(_checked_bool, pieces)
        self.content.tensor(name, fields.type, fields.shape, pieces)

    def _constant(self, name: str, fields: Fields) -> Constant:
        if fields.type.name == "bool" and fields.data not in (b"\0", b"\1"):
            raise Broken("a bool tensor holds something else")
        self.content.constant(name, fields.type, fields.shape, fields.data)
        return Constant(name, fields.type.name, fields.shape, fields.data)

    def _decoded(self, name: str, fields: Fields) -> Levels:
        """The next levels of the streams."""
        record, bits = levels.take(self.adaptive, self.static, name, fields)
        self._costs(*bits)
        return record

    def _levels(self, record: Levels) -> Record | None:
        """Levels that are hashed and kept; nobody else has their array."""
        dtype = dtypes.named(record.dtype)
        if self.keep == Keep.VALUES and dtype.size <= 4 and record.levels.dtype == np.int32:
            flat = inplace.overwrite(record.levels, self._hashing(record), dtype.carrier)
            return Value(record.name, record.dtype, flat.reshape(record.shape))
        return self._made(record)

    def _made(self, record: Levels | Product) -> Record | None:
        """As :meth:`_levels`, in new memory."""
        dtype = dtypes.named(record.dtype)
        if self.keep == Keep.VALUES:
            return Value(record.name, record.dtype, gathered(self._hashing(record), record.shape, dtype))
        for _ in self._hashing(record):
            pass
        if self.keep == Keep.NOTHING or not isinstance(record, Levels):
            return record
        if dtype.size < 4 and _fit(record.levels, np.iinfo(np.int16).max):
            narrow = inplace.narrowed(record.levels, np.dtype(np.int16))
            return replace(record, levels=narrow.reshape(record.shape))
        return record

    def _hashing(self, record: Levels | Product) -> Iterator[np.ndarray]:
        """The entries, some at a time, finite ones, which have been taken into the hash when they are given."""
        dtype = dtypes.named(record.dtype)
        with self.content.open(record.name, dtype, record.shape) as hashed:
            for piece in record.pieces():
                if not dtypes.all_finite(piece, dtype):
                    raise Broken(f"the tensor {printable(record.name)} is beyond its type")
                hashed.update(piece)
                yield piece

    def _product(self, number: int) -> Record | None:
        """Two records of levels, and the tensor that they stand for."""
        name, shape = self.tables.products[number]
        codes_name, basis_name = self.tables.names[number : number + 2]
        codes_fields, basis_fields = self.tables.fields[number : number + 2]
        codes = self._decoded(codes_name, codes_fields)
        if not _fit(codes.levels, 8):
            raise Broken(f"a coefficient of {printable(name)} is no power of two that the format knows")
        hashes_factors = not self.tables.parts.flags & sections.PRODUCTS
        codes = replace(codes, levels=inplace.narrowed(codes.levels, np.dtype(np.int8)).reshape(codes.shape))
        if hashes_factors:
            self._only_hashed(codes)
        basis = self._decoded(basis_name, basis_fields)
        if hashes_factors:
            self._only_hashed(basis)
        product = Product(name, basis.dtype, shape, codes.levels, basis.levels, basis.step)
        product.check()
        if not hashes_factors:
            return self._made(product)
        apart, self.content = (
            self.content,
            Content(),
        )  # the tensor itself is checked, and not part of the hash
        try:
            return self._made(product)
        finally:
            self.content = apart

    def _only_hashed(self, record: Levels) -> None:
        for _ in self._hashing(record):
            pass

    def _random(self, name: str, fields: Fields) -> Record | None:
        data = bytes(self._raw_bytes(fields))
        indices = random.unpack(data, fields.blocks, fields.bits)
        if indices is None:
            raise Broken("a tensor of random levels has bits left over")
        if (
            fields.type.size < 4 and fields.bits <= 16
        ):  # blocks may be of one entry, and indices larger than it
            indices = indices.astype(np.uint16)
        record = Random(
            name, fields.type.name, fields.shape, indices, fields.step, fields.seed, fields.bits, fields.size
        )
        drawn = Levels(name, record.dtype, record.shape, record.levels(), record.step)
        kept = self._levels(drawn)
        return kept if self.keep == Keep.VALUES else record

    def _raw_bytes(self, fields: Fields) -> bytes | memoryview:
        """Those of the next record."""
        self._at += fields.raw_bytes
        return self._raw.take(self._at - fields.raw_bytes, self._at)

    def _mask(self, name: str, fields: Fields) -> Record | None:
        rows, cols = fields.shape
        before = self.adaptive.bits
        coded = self.adaptive.levels(rows, cols, Model.MASK)
        if self.costs is not None:
            self.costs[-1] = self.adaptive.bits - before, 0.0
        mask = Mask(name, fields.shape, inplace.narrowed(coded, np.dtype(bool)).reshape(rows, cols))
        self.content.mask(name, fields.shape, mask.mask)
        if self.held is not None:
            self.held.append(int(mask.mask.sum()))
        return Csr(name, mask.crow(), mask.col()) if self.keep == Keep.VALUES else mask

    def _full_mask(self, name: str, fields: Fields) -> Mask:
        self.content.mask(name, fields.shape, None)
        # A view of one entry takes no memory, however large the support.
        return Mask(name, fields.shape, np.broadcast_to(np.True_, fields.shape))

    def _costs(self, bits: float, side_bits: float) -> None:
        if self.costs is not None:
            self.costs.append((bits, side_bits))


def _spans(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """A stretch of bytes in pieces that hold whole entries."""
    return ((at, min(at + PIECE, stop)) for at in range(start, stop, PIECE))


def _checked_bool(piece: np.ndarray) -> np.ndarray:
    if piece.view(np.uint8).max(initial=0) > 1:
        raise Broken("a bool tensor holds something else")
    return piece


def _fit(array: np.ndarray, most: int) -> bool:
    """Whether no integer is beyond a magnitude."""
    return not array.size or (int(array.min()) >= -most and int(array.max()) <= most)
