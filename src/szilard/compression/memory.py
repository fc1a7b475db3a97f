"""Limit the number of examples computed at once, so that activations take at most half as much memory as the weights.

The memory for an example is measured on two of them: the bytes alive at once in a forward pass, and the bytes saved for
a backward pass. Batches are cut into parts that fit. Small networks are allowed :data:`LEAST` bytes, which is more than
their calibration takes.
"""

from __future__ import annotations

import ctypes
import platform
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from szilard.compression.batches import leaves, length, rows
from szilard.compression.batches import split as divided
from szilard.compression.calibration import Calibration
from szilard.compression.shelf import Shelf

LEAST = 1 << 28  # bytes that are always allowed for activations and 2.5 times the weights together
EXAMPLES = 2  # number of examples that are measured
BACKWARD = 3  # memory for gradients and sums of products, relative to that alive in a forward pass
LARGE = 1 << 16  # bytes; smaller saved tensors stay in memory

Forward = Callable[[nn.Module, Any], Any]


def allowed_bytes(network: nn.Module) -> int:
    """Bytes allowed for activations: half the bytes of the weights, or more for small networks."""
    size = sum(t.numel() * t.element_size() for t in (*network.parameters(), *network.buffers()))
    return max(size // 2, LEAST - 5 * size // 2)


@dataclass(frozen=True)
class Need:
    """Bytes needed for one example.

    Attributes:
        forward: alive at once in a forward pass.
        saved: for a backward pass.
    """

    forward: float
    saved: float

    @classmethod
    def of(
        cls, network: nn.Module, batches: Sequence[Any], forward: Forward, *, gradients: bool = True
    ) -> Need | None:
        """Measure a network in eval mode; None if that is not possible.

        Args:
            gradients: also measure the bytes saved for gradients of every parameter.
        """
        few = rows(batches[0], slice(0, EXAMPLES)) if batches else None
        count = 0 if few is None else length(few)
        if not count or any(isinstance(one, torch.jit.ScriptModule) for one in network.modules()):
            return (
                None  # TorchScript specialises on the first calls, which must not run under a dispatch mode
            )
        existing = (*network.parameters(), *network.buffers(), *leaves(few))  # not counted
        own = {t.untyped_storage()._cdata for t in existing if t.layout is torch.strided}
        alive, saved = _Alive(own), _Counted(own)
        try:
            with torch.no_grad(), alive:
                forward(network, few)
            if gradients:
                with torch.enable_grad(), with_gradients(network), saved.hooks():
                    forward(network, few)
        except Exception:  # any error of a network without ordinary tensors
            return None
        return cls(alive.most / count, saved.total / count)


@contextmanager
def with_gradients(network: nn.Module) -> Iterator[None]:
    """Set ``requires_grad`` for every floating-point parameter inside the block."""
    wanted = {p: p.requires_grad for p in network.parameters() if p.is_floating_point()}
    try:
        for p in wanted:
            p.requires_grad_(True)
        yield
    finally:
        for p, was in wanted.items():
            p.requires_grad_(was)


def split(batches: Sequence[Any], most: int) -> list[Any]:
    """The batches; those of more than ``most`` examples are divided."""
    return [part for batch in batches for part in divided(batch, most)]


def most_forward(network: nn.Module, need: Need | None, most: int) -> int:
    """How many examples, at most ``most``, can be computed at once in a forward pass."""
    if need is None or not need.forward:
        return most
    return max(1, min(most, int(allowed_bytes(network) / need.forward)))


def fitted(data: Calibration, network: nn.Module, forward: Forward) -> Calibration:
    """The same data, with judging batches of a size that can be computed at once."""
    most = max((length(batch) for batch in data.judges), default=0)
    fits = most_forward(network, Need.of(network, data.judges, forward, gradients=False), most)
    if fits >= most:
        return data
    labels = None if data.labels is None else split(data.labels, fits)
    return replace(data, judges=split(data.judges, fits), labels=labels)


@contextmanager
def for_gradients(network: nn.Module, batches: Sequence[Any], forward: Forward) -> Iterator[Sequence[Any]]:
    """Batches of a size that can be computed and differentiated.

    If even a few examples save more than is allowed, their saved tensors are moved to a temporary file and back.
    """
    need = Need.of(network, batches, forward)
    most = max((length(batch) for batch in batches), default=0)
    if need is None or most * max(need.saved, BACKWARD * need.forward) <= allowed_bytes(network):
        yield batches
        return
    most = max(1, min(most, int(allowed_bytes(network) / (BACKWARD * need.forward or 1))))
    if most * need.saved <= allowed_bytes(network) / 2:
        yield split(batches, most)
        return
    with _SavedToFile(network).hooks():
        yield split(batches, most)


@contextmanager
def returned(network: nn.Module) -> Iterator[None]:
    """Return memory freed inside the block to the system at once, if the network is large.

    glibc keeps free blocks of up to 32 MB; with blocks of many sizes, that took three times the memory of the weights.
    """
    glibc = _glibc(network)
    if glibc is None:
        yield
        return
    glibc.malloc_trim(0)
    glibc.mallopt(_MMAP_THRESHOLD, 1 << 20)
    try:
        yield
    finally:
        glibc.mallopt(
            _MMAP_THRESHOLD, 1 << 25
        )  # the value that glibc itself reaches after a few large blocks
        glibc.malloc_trim(0)


_MMAP_THRESHOLD = -3  # malloc.h


def give_back(network: nn.Module) -> None:
    """Return free memory to the system now, if the network is large."""
    glibc = _glibc(network)
    if glibc is not None:
        glibc.malloc_trim(0)


def _glibc(network: nn.Module) -> Any:
    size = sum(p.numel() * p.element_size() for p in network.parameters())
    if size <= LEAST // 4:
        return None
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return None
    try:
        found = ctypes.CDLL(None)
        return found if hasattr(found, "mallopt") and hasattr(found, "malloc_trim") else None
    except OSError:
        return None


class _Alive(TorchDispatchMode):
    """Counts the bytes of tensors that are alive, except some storages.

    Attributes:
        most: largest number of bytes at any time.
    """

    def __init__(self, without: set[int]) -> None:
        super().__init__()
        self.most = self._now = 0
        self._without = without
        self._sizes: dict[int, int] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False, because otherwise torch imports its compiler to exclude the method below, which takes 80 MB."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(output):
            if isinstance(tensor, Tensor) and tensor.layout is torch.strided:
                self._see(tensor.untyped_storage())
        return output

    def _see(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._sizes or key in self._without:
            return
        self._sizes[key] = storage.nbytes()
        self._now += storage.nbytes()
        self.most = max(self.most, self._now)
        weakref.finalize(storage, self._gone, key)

    def _gone(self, key: int) -> None:
        self._now -= self._sizes.pop(key, 0)


class _Counted:
    """Counts the bytes that are saved for a backward pass, each storage once, except some storages."""

    def __init__(self, without: set[int]) -> None:
        self.total = 0
        self._seen: set[int] = set(without)
        self._held: list[Tensor] = []  # kept alive so that no address is used twice

    def hooks(self) -> torch.autograd.graph.saved_tensors_hooks:
        return torch.autograd.graph.saved_tensors_hooks(self._see, lambda t: t)

    def _see(self, tensor: Tensor) -> Tensor:
        if tensor.layout is torch.strided and tensor.untyped_storage()._cdata not in self._seen:
            self._seen.add(tensor.untyped_storage()._cdata)
            self._held.append(tensor.detach())
            self.total += tensor.untyped_storage().nbytes()
        return tensor


class _SavedToFile:
    """Moves tensors saved for a backward pass to a file, except the network's own tensors and small ones."""

    def __init__(self, network: nn.Module) -> None:
        self._shelf = Shelf(0)
        self._own = {t.untyped_storage()._cdata for t in (*network.parameters(), *network.buffers())}

    def hooks(self) -> torch.autograd.graph.saved_tensors_hooks:
        return torch.autograd.graph.saved_tensors_hooks(self._put, self._get)

    def _put(self, tensor: Tensor) -> Any:
        size = tensor.numel() * tensor.element_size()
        if (
            size < LARGE
            or tensor.layout is not torch.strided
            or tensor.device.type != "cpu"
            or tensor.untyped_storage()._cdata in self._own
        ):
            return tensor
        strides = tensor.stride()
        order = sorted(range(tensor.dim()), key=lambda d: -strides[d])
        return _Saved(self._shelf, tensor.detach().permute(order), order)

    def _get(self, saved: Any) -> Tensor:
        if isinstance(saved, Tensor):
            return saved
        found: Tensor = saved.tensor()
        return found


class _Saved:
    """A tensor in the file, in its memory order, until this object is deleted."""

    def __init__(self, shelf: Shelf, tensor: Tensor, order: list[int]) -> None:
        self._shelf, self._order = shelf, order
        shelf[id(self)] = tensor

    def tensor(self) -> Tensor:
        found: Tensor = self._shelf[id(self)]
        return found.permute([self._order.index(d) for d in range(found.dim())])

    def __del__(self) -> None:
        self._shelf.pop(id(self), None)
