"""Store intermediate results of a compression in memory, and above a limit in a temporary file.

Results that do not depend on λ are computed once and read at every λ. The curvature of a transformer's layers and its
inverse roots take more memory than the network. Tensors are restored bit for bit.
"""

from __future__ import annotations

import dataclasses
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, BinaryIO, cast

import torch
from torch import Tensor

from szilard.errors import SzilardError

ROOM = 1 << 23  # bytes of tensors that stay in memory
SMALL = 1 << 12  # bytes; smaller tensors always stay in memory
PIECE = 1 << 20  # entries that are read or added at a time


@dataclasses.dataclass(frozen=True)
class _Placed:
    """A tensor in the file."""

    start: int
    shape: torch.Size
    dtype: torch.dtype

    @property
    def size(self) -> int:
        return self.shape.numel() * self.dtype.itemsize


class Shelf(MutableMapping[Any, Any]):
    """A mapping whose values contain tensors: alone, or in tuples, lists, dicts and dataclasses.

    Small tensors, those on a GPU and those that fit into ``room`` stay in memory. The others are stored in a temporary
    file without a name, which the system removes when the process ends, however it ends. Each access reads them from
    the file again: to change a value, store it again. Several threads can read at once.

    Args:
        room: bytes of tensors that stay in memory.
    """

    def __init__(self, room: int = ROOM) -> None:
        self.room = room
        self.held = 0  # bytes in memory
        self.written = 0  # bytes in the file, including free places
        self._values: dict[Any, Any] = {}
        self._free: dict[int, list[int]] = defaultdict(list)  # places by size
        self._file: BinaryIO | None = None
        self._lock = threading.RLock()

    def __setitem__(self, key: Any, value: Any) -> None:
        with self._lock:
            if key in self._values:
                del self[key]  # unlike pop, this does not read the old value
            self._values[key] = _mapped(value, self._put)

    def __getitem__(self, key: Any) -> Any:
        return _mapped(self._values[key], self._get)

    def __delitem__(self, key: Any) -> None:
        with self._lock:
            _mapped(self._values.pop(key), self._drop)

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._values))

    def __len__(self) -> int:
        return len(self._values)

    def add(self, key: Any, more: Tensor, scale: float = 1.0) -> None:
        """Add ``scale * more`` to the float64 sum of a key, which the first call starts; needs little extra memory.

        Raises:
            SzilardError: the temporary file cannot be written.
        """
        with self._lock:
            if key not in self._values:
                self[key] = more.double().mul_(scale) if more.dtype != torch.float64 else more * scale
                return
            found = self._values[key]
            flat = more.reshape(-1)
            for start in range(0, len(flat), PIECE):
                part = scale * flat[start : start + PIECE].double()
                if isinstance(found, _Placed):
                    place = _Placed(found.start + 8 * start, part.shape, torch.float64)
                    self._write(place.start, self._read(place).add_(part))
                else:
                    found.view(-1)[start : start + PIECE].add_(part)

    def _put(self, leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        size = leaf.numel() * leaf.element_size()
        if size < SMALL or leaf.device.type != "cpu" or leaf.layout != torch.strided:
            return leaf
        if self.held + size <= self.room:
            self.held += size
            return leaf.detach().contiguous()
        places = self._free[size]
        start = places.pop() if places else self.written
        self.written = max(self.written, start + size)
        placed = _Placed(start, leaf.shape, leaf.dtype)
        self._write(start, leaf.detach().contiguous())
        return placed

    def _get(self, leaf: Any) -> Any:
        return self._read(leaf) if isinstance(leaf, _Placed) else leaf

    def _drop(self, leaf: Any) -> Any:
        if isinstance(leaf, _Placed):
            self._free[leaf.size].append(leaf.start)
        elif isinstance(leaf, Tensor) and leaf.device.type == "cpu":
            size = leaf.numel() * leaf.element_size()
            self.held -= size if size >= SMALL and leaf.layout == torch.strided else 0
        return None

    def _write(self, start: int, tensor: Tensor) -> None:
        data = tensor.reshape(-1).view(torch.uint8).numpy().data
        try:
            if self._file is None:
                self._file = cast(
                    BinaryIO,
                    tempfile.TemporaryFile(prefix="szilard-", buffering=0),  # noqa: SIM115
                )
            self._file.seek(start)
            while data:
                data = data[self._file.write(data) :]
        except OSError as error:
            raise SzilardError(
                f"{self.written >> 20} MB of intermediate results cannot be written to {tempfile.gettempdir()} "
                f"({error.strerror or error}); free some space there, or set TMPDIR to another folder"
            ) from error

    def _read(self, placed: _Placed) -> Tensor:
        tensor = torch.empty(placed.shape, dtype=placed.dtype)
        data = tensor.view(-1).view(torch.uint8).numpy().data
        with self._lock:
            assert self._file is not None
            self._file.seek(placed.start)
            while data:
                count = cast(int, self._file.readinto(data))  # type: ignore[attr-defined]
                if not count:
                    raise SzilardError(
                        f"a temporary file in {tempfile.gettempdir()} is too short, as if it was truncated; try again"
                    )
                data = data[count:]
        return tensor


class Total:
    """A float64 sum that is stored on a shelf."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def add(self, more: Tensor, scale: float = 1.0) -> None:
        """Add ``scale * more``."""
        self._shelf.add(self, more, scale)

    def take(self) -> Tensor | None:
        """Remove the sum from the shelf and return it; None if nothing was added."""
        found: Tensor | None = self._shelf.pop(self, None)
        return found


class Part(MutableMapping[str, Any]):
    """A mapping by names whose values are stored on a shelf that others use, too."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._names: dict[str, None] = {}

    def __setitem__(self, name: str, value: Any) -> None:
        self._shelf[self, name] = value
        self._names[name] = None

    def __getitem__(self, name: str) -> Any:
        return self._shelf[self, name]

    def __delitem__(self, name: str) -> None:
        del self._shelf[self, name]
        del self._names[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._names))

    def __len__(self) -> int:
        return len(self._names)

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


def _mapped(value: Any, change: Any) -> Any:
    """The same structure with every leaf changed."""
    if isinstance(value, Mapping):
        return {key: _mapped(one, change) for key, one in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_mapped(one, change) for one in value))
    if isinstance(value, tuple | list):
        return type(value)(_mapped(one, change) for one in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type | _Placed):
        changed = {f.name: _mapped(getattr(value, f.name), change) for f in dataclasses.fields(value)}
        made = object.__new__(
            type(value)
        )  # without __init__, whose checks would not accept a place in the file
        for name, one in changed.items():
            object.__setattr__(made, name, one)
        return made
    return change(value)
