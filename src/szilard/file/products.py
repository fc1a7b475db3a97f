"""Tensors as products of small factors: two records of levels in the file, one tensor to whoever reads it.

The factors of a tensor X lie as X.coefficients and X.basis, and the metadata name X and its shape under
:data:`KEY`. The product is taken in integers, so that it is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from szilard.file import dtypes
from szilard.file.error import Broken, SzilardFileError
from szilard.file.fields import MOST_DIMENSIONS
from szilard.file.records import Alias, Document, Levels, Product, Record, Shape

KEY = "szilard.products"
_PARTS = ".coefficients", ".basis"


def fold(document: Document) -> Document:
    """A document with the factors in place of its products.

    Raises:
        SzilardFileError: a product is badly made, or has an alias.
    """
    products = {record.name: record for record in document.records if isinstance(record, Product)}
    if KEY in document.meta:
        raise SzilardFileError(
            f"metadata may not have an entry {KEY!r}, which is the format's own; rename it"
        )
    if not products:
        return document
    records: list[Record] = []
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
            record.levels()
        except Broken as error:
            raise SzilardFileError(f"{error}; make the factors again") from error
        for part, levels, step in zip(_PARTS, (record.codes, record.basis), (0, record.step), strict=True):
            records.append(Levels(record.name + part, record.dtype, levels.shape, levels, step))
    shapes = {name: list(record.shape) for name, record in products.items()}
    return replace(document, records=records, meta={**document.meta, KEY: shapes})


def unfold(document: Document) -> Document:
    """Undo :func:`fold`.

    Raises:
        Broken: the metadata promise products that the records do not hold.
    """
    if KEY not in document.meta:
        return document
    shapes = _shapes(document.meta[KEY])
    records: list[Record] = []
    rest = iter(document.records)
    for record in rest:
        name = record.name.removesuffix(_PARTS[0])
        if name == record.name or name not in shapes:
            records.append(record)
            continue
        basis = next(rest, None)
        records.append(_product(name, shapes.pop(name), record, basis))
    if shapes:
        raise Broken("it lacks the factors of a product")
    names = [record.name for record in records]
    if len(set(names)) != len(names):
        raise Broken("two tensors have the same name")
    meta = {key: value for key, value in document.meta.items() if key != KEY}
    return replace(document, records=records, meta=meta)


def _product(name: str, shape: Shape, codes: Record, basis: Record | None) -> Product:
    parts = codes, basis
    for part, record in zip(_PARTS, parts, strict=True):
        if not isinstance(record, Levels) or record.name != name + part or record.row_scale is not None:
            raise Broken("it lacks the factors of a product")
    assert isinstance(codes, Levels)
    assert isinstance(basis, Levels)
    if codes.step or codes.dtype != basis.dtype or codes.col_scale is not None or basis.col_scale is not None:
        raise Broken("the factors of a product are badly described")
    product = Product(name, basis.dtype, shape, codes.levels, basis.levels, basis.step)
    value = product.value()
    if not dtypes.all_finite(value, dtypes.named(basis.dtype)):
        raise Broken(f"the product {name} is beyond its type")
    return product


def _shapes(found: Any) -> dict[str, Shape]:
    if not isinstance(found, dict):
        raise Broken("its products are badly described")
    shapes = {}
    for name, shape in found.items():
        sizes = shape if isinstance(shape, list) else [None]
        if not all(isinstance(size, int) and not isinstance(size, bool) and size >= 0 for size in sizes):
            raise Broken("its products are badly described")
        _check_shape(sizes)
        shapes[name] = tuple(sizes)
    return shapes


def _check_shape(sizes: Sequence[Any]) -> None:
    if len(sizes) > MOST_DIMENSIONS:
        raise Broken(f"a product has more than {MOST_DIMENSIONS} dimensions")
