"""The tables of a file, checked and bounded before anything is decoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from szilard.file import columns, factors, meta, names, sections
from szilard.file.error import Broken
from szilard.file.fields import Fields
from szilard.file.kinds.alias import AliasFields
from szilard.file.pieces import Shape
from szilard.file.sections import Parts
from szilard.file.source import Source

#: The most integers that a byte of a stream can hold: each costs at least -log2(1 - 64/65536) = 0.0014 bit.
_MOST_SYMBOLS = 5700
_UNWRITTEN = 8  # bytes at the end of a stream that a coder can omit, with a margin


@dataclass(frozen=True)
class Tables:
    """The content of a file without its tensors.

    Attributes:
        parts: its parts.
        names: of the records.
        fields: of the records.
        meta: the metadata.
        products: name and shape of each product, by the number of the record that is its first factor.
        tensors: names of all tensors by number, as used by aliases: factors in place of products.
    """

    parts: Parts
    names: list[str]
    fields: list[Fields]
    meta: dict[str, Any]
    products: dict[int, tuple[str, Shape]]
    tensors: list[str]

    @property
    def output_bytes(self) -> int:
        """Bytes of all tensors; an upper bound for coded supports."""
        return sum(fields.output_bytes for fields in self.fields)

    @property
    def decisions(self) -> int:
        """Upper bound on the decisions in the streams."""
        return sum(fields.decisions for fields in self.fields)


def tables(data: bytes | Source) -> Tables:
    """Read everything but the tensors.

    Raises:
        Broken: the bytes are not a valid file, as far as this can be found without decoding.
    """
    parts = sections.split(data)
    found_names = names.unpack(parts.names, parts.count)
    found_fields = columns.unpack(parts.fields, parts.count, wide=bool(parts.flags & sections.WIDE))
    if sum(fields.raw_bytes for fields in found_fields) != len(parts.raw):
        raise Broken("the number of its raw bytes is not that of its tensors")
    _check_stream(len(parts.adaptive), sum(fields.symbols for fields in found_fields))
    _check_stream(len(parts.static), sum(fields.static_symbols for fields in found_fields))
    found_meta = meta.unpack(parts.meta)
    found_products = factors.find(found_names, found_fields, found_meta)
    tensors = _tensors(found_names, found_fields, found_products)
    return Tables(parts, found_names, found_fields, found_meta, found_products, tensors)


def _check_stream(length: int, symbols: int) -> None:
    if symbols > _MOST_SYMBOLS * (length + _UNWRITTEN):
        raise Broken("it declares more levels than its stream can hold")
    if length and not symbols:
        raise Broken("it has a stream that no tensor uses")


def _tensors(
    found_names: Sequence[str], table: Sequence[Fields], found_products: Mapping[int, tuple[str, Shape]]
) -> list[str]:
    """The names of all tensors in order; they must be unique both with products and with their factors.

    Raises:
        Broken: two have the same name, or an alias does not refer to an earlier tensor with its own storage.
    """
    tensors: list[str] = []
    shared: set[int] = (
        set()
    )  # numbers of tensors that are aliases themselves, or factors, which a reader does not return
    for number, (name, fields) in enumerate(zip(found_names, table, strict=True)):
        if isinstance(fields, AliasFields):
            if fields.target >= len(tensors) or fields.target in shared:
                raise Broken("a tensor shares a tensor that is not before it")
            shared.add(len(tensors))
        elif number in found_products:
            shared |= {len(tensors), len(tensors) + 1}
        tensors += fields.tensors(name)
    known = [*tensors, *(name for name, _ in found_products.values())]
    if len(set(known)) != len(known):
        raise Broken("two tensors have the same name")
    return tensors
