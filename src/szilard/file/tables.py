"""A file without its tensors: what its tables say, checked and bounded before anything is decoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from szilard.file import columns, meta, names, sections
from szilard.file.error import Broken
from szilard.file.fields import Fields
from szilard.file.kinds import product
from szilard.file.kinds.alias import AliasFields
from szilard.file.pieces import Shape
from szilard.file.sections import Parts
from szilard.file.source import Source

#: The most integers that a byte of a stream can hold: each costs at least -log2(1 - 64/65536) = 0.0014 bit.
_MOST_SYMBOLS = 5700
_UNWRITTEN = 8  # bytes at the end of a stream that a coder need not write, and some


@dataclass(frozen=True)
class Tables:
    """A file without its tensors.

    Attributes:
        parts: its parts.
        names: of the records.
        fields: of the records.
        meta: the metadata.
        products: name and shape of each product, by the number of the record that is its first factor.
        tensors: names of all tensors by number, as aliases count them: factors in place of products.
    """

    parts: Parts
    names: list[str]
    fields: list[Fields]
    meta: dict[str, Any]
    products: dict[int, tuple[str, Shape]]
    tensors: list[str]

    @property
    def output_bytes(self) -> int:
        """Bytes of all tensors; of a coded support, the most that they can be."""
        return sum(fields.output_bytes for fields in self.fields)

    @property
    def decisions(self) -> int:
        """Decisions that the streams may hold, at most."""
        return sum(fields.decisions for fields in self.fields)


def tables(data: bytes | Source) -> Tables:
    """Everything but the tensors.

    Raises:
        Broken: the bytes are no valid file as far as this can be seen without decoding.
    """
    parts = sections.split(data)
    found_names = names.unpack(parts.names, parts.count)
    found_fields = columns.unpack(parts.fields, parts.count, wide=bool(parts.flags & sections.WIDE))
    if sum(fields.raw_bytes for fields in found_fields) != len(parts.raw):
        raise Broken("its raw bytes are not as many as its tensors have")
    _check_stream(len(parts.adaptive), sum(fields.symbols for fields in found_fields))
    _check_stream(len(parts.static), sum(fields.static_symbols for fields in found_fields))
    found_meta = meta.unpack(parts.meta)
    found_products = product.find(found_names, found_fields, found_meta)
    tensors = _tensors(found_names, found_fields, found_products)
    return Tables(parts, found_names, found_fields, found_meta, found_products, tensors)


def _check_stream(length: int, symbols: int) -> None:
    if symbols > _MOST_SYMBOLS * (length + _UNWRITTEN):
        raise Broken("it promises more levels than its stream can hold")
    if length and not symbols:
        raise Broken("it has a stream that nobody reads")


def _tensors(
    found_names: Sequence[str], table: Sequence[Fields], found_products: Mapping[int, tuple[str, Shape]]
) -> list[str]:
    """The names of all tensors in order; each has one of its own, whether or not products are taken.

    Raises:
        Broken: two have the same, or an alias shares no tensor before it that has its own storage.
    """
    tensors: list[str] = []
    shared: set[int] = (
        set()
    )  # numbers of those that are aliases themselves, or no tensors to whoever reads the file
    for number, (name, fields) in enumerate(zip(found_names, table, strict=True)):
        if isinstance(fields, AliasFields):
            if fields.target >= len(tensors) or fields.target in shared:
                raise Broken("a tensor shares one that is not before it")
            shared.add(len(tensors))
        elif number in found_products:
            shared |= {len(tensors), len(tensors) + 1}
        tensors += fields.tensors(name)
    known = [*tensors, *(name for name, _ in found_products.values())]
    if len(set(known)) != len(known):
        raise Broken("two tensors have the same name")
    return tensors
