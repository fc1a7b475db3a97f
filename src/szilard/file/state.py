"""State dicts of PyTorch to documents and back; the only file here that needs torch."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from szilard.file import dtypes
from szilard.file.as_arrays import arrays
from szilard.file.decoding import Keep
from szilard.file.digest import all_equal
from szilard.file.error import SzilardFileError
from szilard.file.kinds import Alias, Constant, Levels, Mask, Raw
from szilard.file.kinds.mask import MOST_MASK
from szilard.file.opening import as_file_error, open_file
from szilard.file.reader import MOST_OUTPUT, decode
from szilard.file.records import Document, Record, TensorRecord
from szilard.file.source import Source
from szilard.file.tables import tables

_CROW, _COL = ".crow", ".col"


def load(path: str | Path, *, max_bytes: int = MOST_OUTPUT, slow: bool = False) -> OrderedDict[str, Tensor]:
    """The state dict in a ``.szd`` file, which ``network.load_state_dict(state, strict=True)`` accepts.

    No code in the file is run, and a damaged or hostile file raises an error and returns no tensors.

    Args:
        path: the file.
        max_bytes: refuse a file whose tensors take more. Loading takes at most half as much in addition, and 64 MiB.
        slow: load it even if that takes more than a minute, because there are no C++ kernels.

    Returns:
        Tensors on the CPU with the names, order and types that were written; tied ones share storage.

    Raises:
        SzilardFileError: it does not exist, or is not a complete and valid file.
    """
    return with_meta(path, max_bytes=max_bytes, slow=slow)[0]


def with_meta(
    path: str | Path, *, max_bytes: int = MOST_OUTPUT, slow: bool = False
) -> tuple[OrderedDict[str, Tensor], dict[str, Any]]:
    """As :func:`load`, with the file's metadata, in one read.

    Raises:
        SzilardFileError: as :func:`load`.
    """

    def make(data: Source) -> tuple[OrderedDict[str, Tensor], dict[str, Any]]:
        document = decode(tables(data), max_bytes, keep=Keep.VALUES, slow=slow)
        return to_state_dict(document), dict(document.meta)

    return open_file(path, make)


def to_state_dict(document: Document) -> OrderedDict[str, Tensor]:
    """A document's tensors on the CPU, by name; tied ones share storage."""
    types = {record.name: record.dtype for record in document.records if isinstance(record, TensorRecord)}
    made: dict[int, Tensor] = {}
    state: OrderedDict[str, Tensor] = OrderedDict()
    found = arrays(document)
    for name, array in found.items():
        if id(array) not in made:
            made[id(array)] = _tensor(array, types.get(name, "int32"))
        state[name] = made[id(array)]
    return state


def each_tensor(data: bytes, take: Callable[[str, Tensor], None]) -> None:
    """Pass the tensors of a file to ``take`` one by one as they are decoded, so that only one is in memory at a time.

    Args:
        data: the bytes of a file from a trusted source: tensors are passed on before the hash is checked.
        take: is called with name and tensor; of tied tensors only with the first.

    Raises:
        SzilardFileError: the bytes are not a complete and valid file.
    """

    def one(record: Record) -> None:
        if not isinstance(record, Alias):
            for name, tensor in to_state_dict(Document([record])).items():
                take(name, tensor)

    as_file_error(
        "the .szd file",
        lambda: decode(tables(data), MOST_OUTPUT, keep=Keep.VALUES, give=one),
    )


def from_state_dict(
    state: Mapping[str, Any],
    levels: Mapping[str, TensorRecord] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> Document:
    """A document of a state dict: ties and equal entries are found, supports become masks, other tensors keep their
    bytes.

    Args:
        state: tensors by name, on any device.
        levels: what to store instead of some of the tensors, by name: quantised, random or factorised ones.
        meta: other data of the network, as small JSON.

    Raises:
        SzilardFileError: there are no tensors, or one is not a dense tensor, or has a type that a file cannot store.
    """
    levels = levels or {}
    first: dict[Any, str] = {}  # name of the first tensor with each storage
    records: list[Record] = []
    if not state:
        raise SzilardFileError("the state dict is empty; pass one that contains tensors")
    names = iter(list(zip(state, [*list(state)[1:], ""], strict=True)))
    for name, following in names:
        _check(name, state[name])
        shared = first.get(storage(state[name]))
        if shared is not None:
            records.append(Alias(name, shared))
            continue
        first[storage(state[name])] = name
        if name in levels:
            records.append(_quantised(state[name], levels[name]))
        elif (
            following
            and (mask := _support(name, following, state)) is not None
            and storage(state[following]) not in first
        ):
            first[storage(state[following])] = following
            records.append(mask)
            next(names)
        else:
            records.append(_exact(name, state[name]))
    return Document(records, dict(meta or {}))


def _check(name: str, tensor: Any) -> None:
    if not isinstance(tensor, Tensor):
        raise SzilardFileError(
            f"{name} is a {type(tensor).__name__} and not a tensor; leave it out of the state dict"
        )
    if tensor.is_nested:
        raise SzilardFileError(f"{name} is a nested tensor; store its parts as separate tensors")
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
        raise SzilardFileError(f"{name} is a sparse, quantized or meta tensor; make it dense")
    dtypes.named(_name(tensor))


def _name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def storage(tensor: Tensor) -> Any:
    """A key for the storage of a tensor, equal for tied tensors; tensors that are empty or on the meta device are never
    tied."""
    if not tensor.numel() or tensor.is_meta:
        return object()
    place = tensor.untyped_storage().data_ptr(), tensor.storage_offset()
    return *place, tensor.device, tensor.dtype, tensor.shape, tensor.stride()


def contiguous(tensor: Tensor) -> Tensor:
    """A tensor on the CPU with its entries in row order, without pending conjugation or negation."""
    plain = tensor.detach().cpu().resolve_conj().resolve_neg()
    if plain.dtype == getattr(torch, "float4_e2m1fn_x2", None):  # PyTorch cannot copy it
        return plain.view(torch.uint8).contiguous().view(plain.dtype)
    plain = plain.contiguous()
    if (
        plain.numel() == 1
    ):  # with one entry any strides are contiguous, even 0, with which no view of another type is possible
        plain = plain.as_strided((), ()).view(plain.shape)
    return plain


def copied(tensor: Tensor) -> Tensor:
    """As :func:`contiguous`, in new memory of exactly its size."""
    plain = contiguous(tensor)
    if not plain.numel():
        return torch.empty(plain.shape, dtype=plain.dtype)
    return plain.reshape(-1).view(torch.uint8).clone().view(plain.dtype).reshape(plain.shape)


def _bits(tensor: Tensor) -> np.ndarray:
    """The bits of a tensor as a numpy array, contiguous and little-endian."""
    dtype = dtypes.named(_name(tensor))
    plain = contiguous(tensor)
    if dtype.borrowed:
        plain = plain.view({1: torch.uint8, 2: torch.uint16}[dtype.size])
    return plain.numpy().astype(dtype.carrier, copy=False)


def _tensor(array: np.ndarray, name: str) -> Tensor:
    tensor = torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))
    return tensor.view(getattr(torch, name)) if dtypes.named(name).borrowed else tensor


def _exact(name: str, tensor: Tensor) -> Record:
    bits = _bits(tensor)
    if bits.size and all_equal(bits):
        return Constant(name, _name(tensor), tuple(bits.shape), bits.reshape(-1)[:1].tobytes())
    return Raw(name, _name(tensor), tuple(bits.shape), bits.tobytes())


def _quantised(tensor: Tensor, record: TensorRecord) -> Record:
    if record.shape != tuple(tensor.shape) or record.dtype != _name(tensor):
        raise SzilardFileError(
            f"the levels of {record.name} are {record.dtype} {list(record.shape)}, but the tensor is {_name(tensor)} "
            f"{list(tensor.shape)}; quantise the tensor itself"
        )
    if isinstance(record, Levels) and _differ(record):
        return record
    value = record.value()
    if value.size and all_equal(value):
        return Constant(record.name, record.dtype, record.shape, value.reshape(-1)[:1].tobytes())
    return record


def _differ(record: Levels) -> bool:
    """Whether entries are found to differ before all of them are made."""
    piece = next(record.pieces(), None)
    return piece is not None and not all_equal(piece)


def _support(crow_name: str, col_name: str, state: Mapping[str, Any]) -> Mask | None:
    """The mask of which two consecutive tensors are the CSR form; None if they are not."""
    prefix = crow_name.removesuffix(_CROW)
    if prefix + _CROW != crow_name or prefix + _COL != col_name:
        return None
    crow, col = state[crow_name], state[col_name]
    if any(one.dtype != torch.int32 or one.ndim != 1 for one in (crow, col)):
        return None
    starts, columns = _bits(crow).astype(np.int64), _bits(col)
    if not starts.size or starts[0] or starts[-1] != columns.size or (np.diff(starts) < 0).any():
        return None
    if columns.size and columns.min() < 0:
        return None
    shape = (starts.size - 1, int(columns.max(initial=-1)) + 1)
    if shape[0] * shape[1] > MOST_MASK:
        return None
    mask = np.zeros(shape, bool)
    mask[np.repeat(np.arange(shape[0]), np.diff(starts)), columns] = True
    found = Mask(prefix, shape, mask)
    return found if np.array_equal(found.crow(), starts) and np.array_equal(found.col(), columns) else None
