"""A network on its way into a file: what the passes hand to each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from szilard.file import Product, Random, steps
from szilard.likelihood import Likelihood

STEPS = 16  # steps of tensors are powers of 2^(1/16), those of the file
ROWS = 8  # and factors of rows powers of 2^(1/8)


@dataclass(eq=False)
class Quantised:
    """A tensor as integers: value = level * 2^(step/16) * 2^(row/8) * 2^(col/8).

    It is a matrix of ``shape[0]`` rows, and a vector is one row.

    Attributes:
        levels: int32 ``[rows, cols]``.
        step: code of the tensor's step.
        row: int8 ``[rows]``, code of each row's factor, or None where all are 1.
        col: int8 ``[cols]``, likewise of columns.
    """

    levels: np.ndarray
    step: int
    row: np.ndarray | None = None
    col: np.ndarray | None = None

    def steps(self) -> Tensor:
        """Step of each row, float64 ``[rows]``; factors of columns come on top."""
        row = np.zeros(len(self.levels)) if self.row is None else self.row
        return torch.from_numpy(2.0 ** (self.step / STEPS + row / ROWS))

    def dense(self, like: Tensor) -> Tensor:
        """The values, in the shape and type of a tensor."""
        values = torch.from_numpy(self.levels).double() * self.steps()[:, None]
        if self.col is not None:
            values *= torch.from_numpy(2.0 ** (self.col / ROWS))
        return values.reshape(like.shape).to(like)


@dataclass(eq=False)
class Draft:
    """A copy of the user's network, changed by one pass after another.

    Attributes:
        network: in eval mode; where a tensor is quantised, it holds the quantised values.
        quantised: by the name of the parameter or buffer.
        random: of minimal random coding, by the name of the parameter; the network holds these values, too.
        products: factorised weights, likewise.
        targets: what :class:`~szilard.compress.Quantise` rounded, while its levels are what they were then.
        notes: what a person should know, one sentence each.
        norms: by the name of a BatchNorm, that of the layer whose rows took in its slope.
    """

    network: nn.Module
    quantised: dict[str, Quantised] = field(default_factory=dict)
    random: dict[str, Random] = field(default_factory=dict)
    products: dict[str, Product] = field(default_factory=dict)
    targets: dict[str, Tensor] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    norms: dict[str, str] = field(default_factory=dict)

    def set(self, name: str, quantised: Quantised) -> None:
        """Quantise a tensor of the network."""
        self.targets.pop(name, None)
        with torch.no_grad():
            tensor = self.tensor(name)
            tensor.copy_(quantised.dense(tensor))
        self.quantised[name] = quantised

    def draw(self, record: Random) -> None:
        """Replace a tensor of the network by what a random record holds."""
        with torch.no_grad():
            tensor = self.tensor(record.name)
            levels = torch.from_numpy(record.levels()).double()
            tensor.copy_((levels * float(steps.value(record.step))).float().to(tensor))
        self.random[record.name] = record

    def multiply(self, record: Product) -> None:
        """Replace a tensor of the network by a product; it is quantised no longer."""
        self.targets.pop(record.name, None)
        self.quantised.pop(record.name, None)
        with torch.no_grad():
            tensor = self.tensor(record.name)
            tensor.copy_(multiplied(record, tensor))
        self.products[record.name] = record

    def saved(self) -> Saved:
        """All that a pass might change, to :meth:`restore` if it did harm."""
        state = {name: t.detach().clone() for name, t in _tensors(self.network).items()}
        return Saved(state, [dict(part) for part in self._tables()], list(self.notes))

    @torch.no_grad()
    def restore(self, saved: Saved) -> None:
        """Take everything back to what it was; parameters keep their identity."""
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
        path, _, leaf = name.rpartition(".")
        found = getattr(self.network.get_submodule(path), leaf)
        assert isinstance(found, Tensor)
        return found


@dataclass(frozen=True, eq=False)
class Saved:
    """A draft as it was: the network's tensors by name, copies of its tables, and its notes."""

    state: dict[str, Tensor]
    tables: list[dict[str, Any]]
    notes: list[str]


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def multiplied(record: Product, like: Tensor) -> Tensor:
    """What a file gives back for a product, as a tensor of the same type."""
    levels = record.levels()
    values = torch.from_numpy(levels.levels).double() * float(steps.value(levels.step))
    return values.float().to(like)


@dataclass(frozen=True, eq=False)
class Setting:
    """What all passes of one compression share.

    Attributes:
        lam: λ in F = E[loss] + λ · bits, nats of mean loss per example and bit.
        inputs: batches of calibration inputs, without labels; empty where there is no data.
        original: the user's network, in eval mode.
        seed: of whatever a pass draws.
        forward: calls a network on one batch of ``inputs``.
        likelihood: what the outputs mean; None: logits where they are ``[B, k > 1]``, else quantities.
        memo: what passes have computed that does not depend on λ, by keys of theirs. All attempts at one network share
            it, so that a pass object remembers nothing of a network.
    """

    lam: float
    inputs: Sequence[Tensor]
    original: nn.Module
    seed: int = 0
    forward: Callable[[nn.Module, Tensor], Tensor] = lambda network, x: network(x)
    likelihood: Likelihood | None = None
    memo: dict[Any, Any] = field(default_factory=dict)


class Pass(Protocol):
    """One step of compression: changes a draft so that F falls.

    One with a true attribute ``costly`` is left out while λ is searched for, and tried at the end. One with a true
    attribute ``mends`` brings answers nearer to the original's: what it did is discarded if the score falls.
    """

    def __call__(self, draft: Draft, setting: Setting) -> None: ...
