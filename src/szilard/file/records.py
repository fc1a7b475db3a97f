"""The content of a file: one record for each tensor of a state dict, or for each support, in order.

This file has the base classes of records, and those without a kind; the others are in :mod:`szilard.file.kinds`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from szilard import _moved
from szilard.file.pieces import Shape


@dataclass(frozen=True, eq=False)
class Record:
    """A tensor of a file, a support, or an alias of a tensor."""

    name: str


@dataclass(frozen=True, eq=False)
class TensorRecord(Record):
    """A tensor, however it is stored.

    Attributes:
        dtype: PyTorch's name of the type, "int64".
    """

    dtype: str
    shape: Shape

    def value(self) -> np.ndarray:
        """The tensor in its carrier type (:mod:`szilard.file.dtypes`)."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class SupportRecord(Record):
    """A support, which becomes two tensors: ``name.crow`` and ``name.col``, int32 in CSR."""

    def crow(self) -> np.ndarray:
        """Row pointers into the columns, int32 ``[rows + 1]``."""
        raise NotImplementedError

    def col(self) -> np.ndarray:
        """Columns of the existing entries, int32 ``[nnz]``."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Value(TensorRecord):
    """A tensor that has been decoded.

    Attributes:
        array: in the carrier type, of the shape.
    """

    array: np.ndarray

    def value(self) -> np.ndarray:
        """The tensor itself, not a copy."""
        return self.array


@dataclass(frozen=True, eq=False)
class Csr(SupportRecord):
    """A support that has been decoded."""

    starts: np.ndarray
    columns: np.ndarray

    def crow(self) -> np.ndarray:
        """As :meth:`SupportRecord.crow`, not a copy."""
        return self.starts

    def col(self) -> np.ndarray:
        """As :meth:`SupportRecord.col`, not a copy."""
        return self.columns


@dataclass(frozen=True, eq=False)
class Document:
    """The content of a file.

    Attributes:
        records: in the order of the state dict.
        meta: other data of the network, as small JSON: how it is built, how inputs are read.
    """

    records: Sequence[Record]
    meta: Mapping[str, Any] = field(default_factory=dict)


def __getattr__(name: str) -> Any:
    return _moved.name_of(__name__, name)
