"""Products of small factors: two records of levels in the file (kind 4) that are read as one tensor.

The factors of a tensor X are stored as X.coefficients and X.basis, and the metadata contain X and its shape under
:data:`KEY`. A product has no kind number: files of products are older than wide kinds, and keep their bytes. It is
computed in integers, so that it is the same on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from szilard.coding import LARGEST
from szilard.file import dtypes, inplace, steps
from szilard.file.decoding import Decoding, Keep
from szilard.file.digest import Content
from szilard.file.encoding import Encoding
from szilard.file.error import Broken, SzilardFileError, printable
from szilard.file.fields import Cost, Fields
from szilard.file.kinds.alias import Alias
from szilard.file.kinds.levels import PLAIN, Coding, LevelsFields, put
from szilard.file.limits import MOST_DIMENSIONS, MOST_ELEMENTS
from szilard.file.pieces import SOME, Shape, fill, fit, gathered
from szilard.file.quantised import Levels, hashed_pieces, make_value
from szilard.file.records import Document, Record, TensorRecord

DEPTH = 8  #: number of powers of two that a coefficient of a product can be
MOST_PIECE = 64  #: most entries of a piece; a product takes this many operations for each entry
_EXACT = 1 << 24  # float32 represents all integers up to this
KEY = "szilard.products"
_PARTS = ".coefficients", ".basis"
_SCALES = Coding.ROW_SCALE | Coding.COL_SCALE


@dataclass(frozen=True, eq=False)
class Product(TensorRecord):
    """W = C B: coefficients that are powers of two or zero, times a small basis (Zhao et al. 2020).

    As a matrix, W has ``shape[0]`` rows. A row is cut into pieces of S entries, and each piece is a row of C times the
    basis of its group of rows. A code k means sign(k) 2^(1 - |k|), and 0 means 0.

    Attributes:
        dtype: as of :class:`~szilard.file.kinds.levels.Levels`.
        codes: signed integers ``[pieces, S]``, magnitudes up to 8.
        basis: signed integers ``[groups, S, S]`` of levels; ``shape[0]`` is a multiple of ``groups``.
        step: code of the basis' step.
    """

    codes: np.ndarray
    basis: np.ndarray
    step: int

    def check(self) -> None:
        """Check that the shapes, the step and the coefficients of the factors match.

        Raises:
            Broken: they do not.
        """
        check_product(self.name, self.shape, self.codes.shape, self.basis.shape, self.step)
        if self.codes.size and (int(self.codes.min()) < -DEPTH or int(self.codes.max()) > DEPTH):
            raise Broken(
                f"a coefficient of {printable(self.name)} is not a power of two that the format allows"
            )
        if max(-int(self.basis.min()), int(self.basis.max())) > LARGEST:
            raise Broken(f"the basis of {printable(self.name)} is outside the range of levels")

    def level_pieces(self) -> Iterator[np.ndarray]:
        """The product as levels, int32, in row order, some at a time; the factors have been checked.

        Raises:
            Broken: a level is outside the range of the format.
        """
        groups, size = len(self.basis), self.basis.shape[-1]
        if not self.codes.size:
            return
        # Sums of integers that a float represents exactly, in any order of summation.
        most = max(-int(self.basis.min()), int(self.basis.max())) * size << DEPTH - 1
        dtype = np.float32 if most <= _EXACT else np.float64
        powers = _POWERS.astype(dtype)
        codes = self.codes.reshape(groups, -1, size)
        rows = codes.shape[1]
        together = max(1, SOME // (max(rows, size) * size))  # groups at a time
        long = max(1, SOME // size)  # rows at a time
        for group in range(0, groups, together):
            basis = self.basis[group : group + together].astype(dtype)
            for row in range(0, rows, long):
                found = np.matmul(powers[codes[group : group + together, row : row + long] + DEPTH], basis)
                if max(-found.min(), found.max()) > LARGEST:
                    raise Broken(f"the product {printable(self.name)} is outside the range of levels")
                yield found.reshape(-1).astype(np.int32)

    def pieces(self) -> Iterator[np.ndarray]:
        """As :meth:`Levels.pieces`."""
        for levels in self.level_pieces():
            yield from self._levels(levels, levels.shape).pieces()

    def levels(self) -> Levels:
        """The product as levels with a step that is 2^7 times smaller.

        Raises:
            Broken: the factors do not match, or the product is outside the range of levels.
        """
        self.check()
        found = np.empty(math.prod(self.shape), np.int32)
        fill(found, self.level_pieces())
        return self._levels(found.reshape(self.shape), self.shape)

    def value(self) -> np.ndarray:
        """As :meth:`~szilard.file.kinds.raw.Raw.value`."""
        self.check()
        return gathered(self.pieces(), self.shape, dtypes.named(self.dtype))

    def _levels(self, levels: np.ndarray, shape: Shape) -> Levels:
        return Levels(self.name, self.dtype, shape, levels, self.step - 16 * (DEPTH - 1))


#: The value of code k of a coefficient, at position k + DEPTH.
_POWERS = np.array([int(math.copysign(1 << DEPTH - abs(k), k)) if k else 0 for k in range(-DEPTH, DEPTH + 1)])


def check_product(name: str, shape: Shape, codes: Shape, basis: Shape, step: int) -> None:
    """Check that the shapes of the factors of a product and the code of the basis' step match.

    Raises:
        Broken: they do not.
    """
    if len(codes) != 2 or len(basis) != 3 or not shape or not basis[0] or not basis[2]:
        raise Broken(f"the factors of {printable(name)} do not match")
    pieces, size = codes
    groups = basis[0]
    if size > MOST_PIECE:
        raise Broken(f"the pieces of {printable(name)} are longer than {MOST_PIECE}")
    if not steps.LOWEST <= step - 16 * (DEPTH - 1) <= steps.HIGHEST - 16 * (DEPTH - 1):
        raise Broken(f"the step of {printable(name)} is outside the range of float32")
    if (
        basis != (groups, size, size)
        or pieces * size != math.prod(shape)
        or shape[0] % groups
        or pieces % groups
    ):
        raise Broken(f"the factors of {printable(name)} do not match")


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
