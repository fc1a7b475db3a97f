"""Modes and draws that hold in this thread: the state behind the ``with`` blocks of :mod:`szilard.bayes.modes`.

A layer reads this state before its own ``mode`` and its weight's ``draw``. Nothing is written to modules, so threads
that hold different draws of one network do not affect each other.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Block:
    """What one ``with`` block sets: modes by layer or scale, draws by weight or scale."""

    modes: Mapping[nn.Module, str] = field(default_factory=dict)
    draws: Mapping[nn.Module, Tensor] = field(default_factory=dict)


class _Active:
    """The blocks that a thread is in, and their combined modes and draws."""

    def __init__(self) -> None:
        self.blocks: tuple[Block, ...] = ()
        self.modes: dict[nn.Module, str] = {}
        self.draws: dict[nn.Module, Tensor] = {}

    def set(self, blocks: tuple[Block, ...]) -> None:
        # New dictionaries: a compiled graph has guards on the old ones and checks these again.
        self.blocks = blocks
        self.modes = {module: mode for block in blocks for module, mode in block.modes.items()}
        self.draws = {module: draw for block in blocks for module, draw in block.draws.items()}


# A threading.local and not a context variable: torch.compile can trace (and guard) only the former.
class _State(threading.local):
    def __init__(self) -> None:
        self.active = _Active()
        self.calls: dict[nn.Module, Call] = {}


@dataclass(eq=False)
class Call:
    """The dense weights of a module during a call, and whether gradients were enabled when the call began."""

    tensors: dict[str, Tensor]
    grad: bool


_state = _State()


@contextmanager
def calling(module: nn.Module) -> Iterator[None]:
    """During a call of a module in this thread, draw its weights once, however often they are read."""
    calls = _state.calls
    if module in calls:  # a module that calls itself
        yield
        return
    calls[module] = Call({}, torch.is_grad_enabled())
    try:
        yield
    finally:
        calls.pop(module, None)


def current_call(module: nn.Module) -> Call | None:
    """The current call of a module in this thread, with its drawn weights; None outside of a call."""
    return _state.calls.get(module)


@contextmanager
def entered(block: Block) -> Iterator[None]:
    """Apply ``block`` in this thread; if blocks set different values for a module, the innermost counts."""
    active = _state.active  # of the entering thread, even if another thread closes the generator
    active.set((*active.blocks, block))
    try:
        yield
    finally:  # not always the last block: generators can end out of order
        active.set(tuple(other for other in active.blocks if other is not block))


def mode_of(module: nn.Module) -> str:
    """The mode of a layer or a scale in this thread: ``local``, ``sample``, ``mean`` or ``moments``."""
    mode: str = _state.active.modes.get(module, module.mode)  # type: ignore[arg-type]
    return ("local" if module.training else "mean") if mode == "auto" else mode


def draw_of(module: nn.Module) -> Tensor | None:
    """The values used for a weight or a scale in this thread instead of its posterior; None if there are none."""
    return _state.active.draws.get(module, module.draw)  # type: ignore[arg-type]
