"""The state of a network during compression, which passes change, and the setting that they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from szilard.compression.packed import Packed, pack
from szilard.compression.progress import Progress
from szilard.compression.shelf import Shelf
from szilard.file import Product, Random, steps
from szilard.likelihood import Likelihood

STEPS = 16  # steps of tensors are powers of 2^(1/16), as in the file
ROWS = 8  # factors of rows are powers of 2^(1/8)
_SOME = 1 << 18  # entries that are computed in float64 at a time


class Quantised:
    """A tensor as integers: value = level * 2^(step/16) * 2^(row/8) * 2^(col/8).

    Tensors are matrices of ``shape[0]`` rows; a vector is one row.

    Args:
        levels: signed integers ``[rows, cols]`` of any size.
        step: code of the tensor's step.
        row: int8 ``[rows]``, code of each row's factor, or None if all are 1.
        col: int8 ``[cols]``, the same for columns.
    """

    def __init__(
        self,
        levels: np.ndarray | Packed,
        step: int,
        row: np.ndarray | None = None,
        col: np.ndarray | None = None,
    ) -> None:
        self._levels = levels
        self.step, self.row, self.col = step, row, col

    @property
    def levels(self) -> np.ndarray:
        """The integers; packed ones are unpacked at each call."""
        return self._levels.wide() if isinstance(self._levels, Packed) else self._levels

    def steps(self) -> Tensor:
        """Step of each row, float64 ``[rows]``, without factors of columns."""
        row = np.zeros(self._levels.shape[0]) if self.row is None else self.row
        return torch.from_numpy(2.0 ** (self.step / STEPS + row / ROWS))

    def dense(self, like: Tensor) -> Tensor:
        """The values, in the shape and type of ``like``."""
        made = torch.empty_like(like)
        self.put(made)
        return made

    @torch.no_grad()
    def put(self, tensor: Tensor) -> None:
        """Overwrite a tensor with the values, in parts, because in float64 they take more memory than the tensor."""
        levels, steps = torch.from_numpy(self.levels), self.steps()[:, None]
        columns = None if self.col is None else torch.from_numpy(2.0 ** (self.col / ROWS))
        vector = tensor.dim() < 2 or len(tensor) != len(levels)
        if vector and tensor.dim() != 1:
            values = levels.double() * steps
            tensor.copy_((values if columns is None else values * columns).reshape(tensor.shape))
            return
        some = max(1, _SOME // max(1, levels.shape[1])) if not vector else _SOME
        for start in range(0, len(tensor), some):
            target = tensor[start : start + some]
            if vector:
                part = slice(start, start + some)
                values = levels.reshape(1, -1)[:, part].double() * steps
                values = values if columns is None else values * columns[part]
            else:
                values = levels[start : start + some].double() * steps[start : start + some]
                values = values if columns is None else values * columns
            target.copy_(values.reshape(target.shape))

    def narrowed(self) -> Quantised:
        """The same, with levels in the smallest type that holds them."""
        levels = self._levels
        if isinstance(levels, Packed):
            return self
        most = max(-int(levels.min()), int(levels.max())) if levels.size else 0
        kind = next(k for k in (np.int8, np.int16, np.int32) if most <= np.iinfo(k).max)
        if np.dtype(kind).itemsize >= levels.dtype.itemsize:
            return self
        return Quantised(levels.astype(kind), self.step, self.row, self.col)

    def packed(self) -> Quantised:
        """The same in less memory."""
        narrow = self.narrowed()
        kept = None if isinstance(narrow._levels, Packed) else pack(narrow._levels)
        return narrow if kept is None else Quantised(kept, self.step, self.row, self.col)


@dataclass(eq=False)
class Draft:
    """A copy of the user's network, changed by one pass after another.

    Attributes:
        network: in eval mode; quantised tensors have their quantised values.
        quantised: quantised tensors by the name of the parameter or buffer.
        random: records of minimal random coding by the name of the parameter; the network has their values, too.
        products: factorised weights, likewise.
        targets: the values that :class:`~szilard.compression.Quantise` rounded, until their levels are changed.
        notes: notes for the user, one sentence each.
        norms: by the name of a BatchNorm, the name of the layer into whose rows its slope was multiplied.
        looks_back: whether any pass reads ``targets``, which take as much memory as the network.
    """

    network: nn.Module
    quantised: dict[str, Quantised] = field(default_factory=dict)
    random: dict[str, Random] = field(default_factory=dict)
    products: dict[str, Product] = field(default_factory=dict)
    targets: dict[str, Tensor] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    norms: dict[str, str] = field(default_factory=dict)
    looks_back: bool = True

    def set(self, name: str, quantised: Quantised) -> None:
        """Quantise a tensor of the network."""
        self.targets.pop(name, None)
        with torch.no_grad():
            quantised.put(self.tensor(name))
        self.quantised[name] = quantised.packed()

    def draw(self, record: Random) -> None:
        """Replace a tensor of the network by the values of a random record."""
        with torch.no_grad():
            tensor = self.tensor(record.name)
            levels = torch.from_numpy(record.levels()).double()
            tensor.copy_((levels * float(steps.value(record.step))).float().to(tensor))
        self.random[record.name] = record

    def multiply(self, record: Product) -> None:
        """Replace a tensor of the network by a product; its quantised values are dropped."""
        self.targets.pop(record.name, None)
        self.quantised.pop(record.name, None)
        with torch.no_grad():
            tensor = self.tensor(record.name)
            tensor.copy_(multiplied(record, tensor))
        self.products[record.name] = record

    def saved(self) -> Saved:
        """Everything that a pass can change, for :meth:`restore`."""
        state = {name: t.detach().clone() for name, t in _tensors(self.network).items()}
        return Saved(state, [dict(part) for part in self._tables()], list(self.notes))

    @torch.no_grad()
    def restore(self, saved: Saved) -> None:
        """Undo all changes since :meth:`saved`; parameters keep their identity."""
        for name, tensor in _tensors(self.network).items():
            tensor.copy_(saved.state[name])
        for part, was in zip(self._tables(), saved.tables, strict=True):
            part.clear()
            part.update(was)
        self.notes[:] = saved.notes

    def _tables(self) -> list[dict[str, Any]]:
        return [self.quantised, self.random, self.products, self.targets, self.norms]

    def tensor(self, name: str) -> Tensor:
        """A parameter or buffer by its name."""
        found: object = self.network
        for part in name.split("."):
            found = getattr(found, part)  # scripted modules have no get_submodule
        assert isinstance(found, Tensor)
        return found


@dataclass(frozen=True, eq=False)
class Saved:
    """A saved draft: the network's tensors by name, copies of its tables, and its notes."""

    state: dict[str, Tensor]
    tables: list[dict[str, Any]]
    notes: list[str]


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def multiplied(record: Product, like: Tensor) -> Tensor:
    """The decoded values of a product, as a tensor of the type of ``like``."""
    levels = record.levels()
    values = torch.from_numpy(levels.levels).double() * float(steps.value(levels.step))
    return values.float().to(like)


@dataclass(frozen=True, eq=False)
class Setting:
    """The setting that all passes of one compression share.

    Attributes:
        lam: λ in F = E[loss] + λ · bits, nats of mean loss per example and bit.
        inputs: batches of calibration inputs of any structure, without labels
            (:mod:`szilard.compression.batches`); empty without data.
        original: the original network, in eval mode.
        seed: of the random numbers of passes.
        forward: calls a network on one batch of ``inputs``.
        likelihood: the meaning of the outputs; None: logits if they are ``[B, k > 1]``, else quantities.
        memo: results of passes that do not depend on λ, by keys that the passes choose. All attempts for one network
            share it; a pass object itself keeps nothing about a network.
        shelf: the same for results that take much memory.
        progress: shows the progress of passes that take long.
    """

    lam: float
    inputs: Sequence[Any]
    original: nn.Module
    seed: int = 0
    forward: Callable[[nn.Module, Any], Tensor] = lambda network, x: network(x)
    likelihood: Likelihood | None = None
    memo: dict[Any, Any] = field(default_factory=dict)
    shelf: Shelf = field(default_factory=Shelf)
    progress: Progress = field(default_factory=Progress)


class Pass(Protocol):
    """One step of compression: changes a draft so that F falls.

    A pass with a true attribute ``costly`` is left out while λ is searched for, and runs at the end. One with a true
    attribute ``undo_if_worse`` brings the outputs closer to the original's: it is undone if the score falls. One with a
    true attribute ``looks_back`` reads ``draft.targets``, which are not kept otherwise.
    """

    def __call__(self, draft: Draft, setting: Setting) -> None: ...
