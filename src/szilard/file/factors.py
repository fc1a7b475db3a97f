"""How products are stored: two records of levels in the file (kind 4) that are read as one tensor.

The factors of a tensor X are stored as X.coefficients and X.basis, and the metadata contain X and its shape under
:data:`KEY`. A product has no kind number: files of products are older than wide kinds, and keep their bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from szilard.file import inplace
from szilard.file.decoding import Decoding, Keep
from szilard.file.digest import Content
from szilard.file.encoding import Encoding
from szilard.file.error import Broken, SzilardFileError, printable
from szilard.file.fields import Cost, Fields
from szilard.file.kinds.alias import Alias
from szilard.file.kinds.levels import PLAIN, Coding, LevelsFields, put
from szilard.file.kinds.product import DEPTH, Product, check_product
from szilard.file.limits import MOST_DIMENSIONS, MOST_ELEMENTS
from szilard.file.pieces import Shape, fit
from szilard.file.quantised import Levels, hashed_pieces, make_value
from szilard.file.records import Document, Record

KEY = "szilard.products"
_PARTS = ".coefficients", ".basis"
_SCALES = Coding.ROW_SCALE | Coding.COL_SCALE


def fold(document: Document) -> tuple[Document, dict[int, Product]]:
    """A document with factors in place of its products, and the products by the number of their first factor.

    Raises:
        SzilardFileError: a product is not valid, or has an alias.
    """
    products = {record.name: record for record in document.records if isinstance(record, Product)}
    if KEY in document.meta:
        raise SzilardFileError(f"metadata cannot have an entry {KEY!r}, which the format uses; rename it")
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

    Only the tables are checked: they are consistent, whatever the streams contain.

    Raises:
        Broken: the metadata declare products that are not in the records.
    """
    if KEY not in meta:
        return {}
    numbers = {name: number for number, name in enumerate(names)}
    found = {}
    for name, shape in _shapes(meta[KEY]).items():
        number = numbers.get(name + _PARTS[0], len(names))
        if number + 1 >= len(names) or names[number + 1] != name + _PARTS[1]:
            raise Broken("the factors of a product are missing")
        codes, basis = fields[number], fields[number + 1]
        if not isinstance(codes, LevelsFields) or not isinstance(basis, LevelsFields):
            raise Broken("the factors of a product are missing")
        if (codes.coding | basis.coding) & _SCALES != PLAIN:
            raise Broken("the factors of a product are missing")
        if codes.step or codes.dtype != basis.dtype:
            raise Broken("the factors of a product have invalid fields")
        check_product(name, shape, codes.shape, basis.shape, basis.step)
        found[number] = name, shape
    return found


def encode_factor(record: Levels, product: Product | None, encoding: Encoding) -> tuple[LevelsFields, Cost]:
    """Write a factor to the parts of a file; the product is hashed instead of its factors.

    Args:
        record: a factor.
        product: the product if this is its first factor, else None.

    Raises:
        SzilardFileError: a factor breaks a rule of the format, or the product does.
    """
    fields, cost = put(record, encoding)
    if product is not None:
        encoding.hash(product.name, fields.type, product.shape, product.pieces())
    return fields, cost


def decode(
    name: str, shape: Shape, factors: Sequence[tuple[str, Fields]], counted: bool, decoding: Decoding
) -> tuple[Record | None, list[Cost]]:
    """Decode the next two records, and the tensor that is their product.

    Args:
        factors: names and fields of the two, which :func:`find` has checked.
        counted: the product is hashed; in older files, without a flag for that, the factors are.

    Returns:
        The tensor, and the code length of each factor.

    Raises:
        Broken: they are not the factors of a tensor.
        CodingError: their streams are damaged.
    """
    (codes, codes_cost), (basis, basis_cost) = (
        _factor(number, *factors[number], counted, decoding) for number in range(2)
    )
    product = Product(name, basis.dtype, shape, codes.levels, basis.levels, basis.step)
    product.check()
    content = decoding.content
    if not counted:
        decoding.content = Content()  # the tensor itself is checked, but is not part of the hash
    try:
        return _kept(product, decoding), [codes_cost, basis_cost]
    finally:
        decoding.content = content


def _factor(number: int, name: str, fields: Fields, counted: bool, decoding: Decoding) -> tuple[Levels, Cost]:
    if not isinstance(fields, LevelsFields):
        raise TypeError(f"a factor has fields of {type(fields).__name__}; find() takes only levels")
    record, cost = fields.take(name, decoding)
    if not number:
        if not fit(record.levels, DEPTH):
            product = name.removesuffix(_PARTS[0])
            raise Broken(
                f"a coefficient of {printable(product)} is not a power of two that the format allows"
            )
        narrow = inplace.narrowed(record.levels, np.dtype(np.int8))
        record = replace(record, levels=narrow.reshape(record.shape))
    if not counted:
        for _ in hashed_pieces(record, decoding):
            pass
    return record, cost


def _kept(product: Product, decoding: Decoding) -> Record | None:
    if decoding.keep == Keep.VALUES:
        return make_value(product, decoding)
    for _ in hashed_pieces(product, decoding):
        pass
    return product


def without(meta: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata without the entry for products."""
    return {key: value for key, value in meta.items() if key != KEY}


def _shapes(found: Any) -> dict[str, Shape]:
    if not isinstance(found, dict):
        raise Broken("the metadata about its products are not valid")
    shapes = {}
    for name, shape in found.items():
        if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
            raise Broken("the metadata about its products are not valid")
        _check_shape(shape)
        shapes[name] = tuple(shape)
    return shapes


def _check_shape(sizes: Sequence[int]) -> None:
    if len(sizes) > MOST_DIMENSIONS:
        raise Broken(f"a product has more than {MOST_DIMENSIONS} dimensions")
    if math.prod(max(size, 1) for size in sizes) > MOST_ELEMENTS:
        raise Broken("a product is larger than the format allows")
