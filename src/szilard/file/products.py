"""Tensors as products of small factors: two records of levels in the file, one tensor to whoever reads it.

The factors of a tensor X lie as X.coefficients and X.basis, and the metadata name X and its shape under
:data:`KEY`. The product is taken in integers, so that it is the same on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from szilard.file.error import Broken, SzilardFileError
from szilard.file.fields import MOST_DIMENSIONS, MOST_ELEMENTS, PLAIN, Coding, Fields, Kind
from szilard.file.records import Alias, Document, Levels, Product, Record, Shape, check_product

KEY = "szilard.products"
_PARTS = ".coefficients", ".basis"
_SCALES = Coding.ROW_SCALE | Coding.COL_SCALE


def fold(document: Document) -> tuple[Document, dict[int, Product]]:
    """A document with the factors in place of its products, and each product by the number of its first factor.

    Raises:
        SzilardFileError: a product is badly made, or has an alias.
    """
    products = {record.name: record for record in document.records if isinstance(record, Product)}
    if KEY in document.meta:
        raise SzilardFileError(
            f"metadata may not have an entry {KEY!r}, which is the format's own; rename it"
        )
    if not products:
        return document, {}
    records: list[Record] = []
    places: dict[int, Product] = {}
    for record in document.records:
        if isinstance(record, Alias) and record.target in products:
            raise SzilardFileError(
                f"{record.target} is a product and shared with {record.name}; store it as levels"
            )
        if not isinstance(record, Product):
            records.append(record)
            continue
        try:
            _check_shape(record.shape)
            record.check()
        except Broken as error:
            raise SzilardFileError(f"{error}; make the factors again") from error
        places[len(records)] = record
        for part, levels, step in zip(_PARTS, (record.codes, record.basis), (0, record.step), strict=True):
            records.append(Levels(record.name + part, record.dtype, levels.shape, levels, step))
    shapes = {name: list(record.shape) for name, record in products.items()}
    return replace(document, records=records, meta={**document.meta, KEY: shapes}), places


def find(
    names: Sequence[str], fields: Sequence[Fields], meta: Mapping[str, Any]
) -> dict[int, tuple[str, Shape]]:
    """The names and shapes of a file's products, each by the number of the record that is its first factor.

    Only the tables are looked at: what they promise fits together, whatever the streams hold.

    Raises:
        Broken: the metadata promise products that the records do not hold.
    """
    if KEY not in meta:
        return {}
    numbers = {name: number for number, name in enumerate(names)}
    found = {}
    for name, shape in _shapes(meta[KEY]).items():
        number = numbers.get(name + _PARTS[0], len(names))
        if number + 1 >= len(names) or names[number + 1] != name + _PARTS[1]:
            raise Broken("it lacks the factors of a product")
        codes, basis = fields[number], fields[number + 1]
        if any(part.kind != Kind.LEVELS or part.coding & _SCALES != PLAIN for part in (codes, basis)):
            raise Broken("it lacks the factors of a product")
        if codes.step or codes.dtype != basis.dtype:
            raise Broken("the factors of a product are badly described")
        check_product(name, shape, codes.shape, basis.shape, basis.step)
        found[number] = name, shape
    return found


def without(meta: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata without what they say of products."""
    return {key: value for key, value in meta.items() if key != KEY}


def _shapes(found: Any) -> dict[str, Shape]:
    if not isinstance(found, dict):
        raise Broken("its products are badly described")
    shapes = {}
    for name, shape in found.items():
        if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
            raise Broken("its products are badly described")
        _check_shape(shape)
        shapes[name] = tuple(shape)
    return shapes


def _check_shape(sizes: Sequence[int]) -> None:
    if len(sizes) > MOST_DIMENSIONS:
        raise Broken(f"a product has more than {MOST_DIMENSIONS} dimensions")
    if math.prod(max(size, 1) for size in sizes) > MOST_ELEMENTS:
        raise Broken("a product is larger than the format allows")
