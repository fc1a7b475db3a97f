"""How the stochastic layers answer in this thread: what the blocks of :mod:`szilard.bayes.modes` around a call say.

A layer looks here before it looks at its own ``mode`` and its weight's ``draw``. Nothing is written on modules, so
threads that hold different draws of one network do not see each other's.
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
    """What one ``with`` block says: modes by layer or scale, draws by weight or scale."""

    modes: Mapping[nn.Module, str] = field(default_factory=dict)
    draws: Mapping[nn.Module, Tensor] = field(default_factory=dict)


class _Answers:
    """The blocks around a thread's calls, and what they say together."""

    def __init__(self) -> None:
        self.blocks: tuple[Block, ...] = ()
        self.modes: dict[nn.Module, str] = {}
        self.draws: dict[nn.Module, Tensor] = {}

    def set(self, blocks: tuple[Block, ...]) -> None:
        # Whole new dictionaries: a compiled graph that has seen the old ones checks these again.
        self.blocks = blocks
        self.modes = {module: mode for block in blocks for module, mode in block.modes.items()}
        self.draws = {module: draw for block in blocks for module, draw in block.draws.items()}


# A threading.local and not a context variable: torch.compile can follow (and guard) the one and not the other.
class _Here(threading.local):
    def __init__(self) -> None:
        self.answers = _Answers()
        self.calls: dict[nn.Module, Held] = {}


@dataclass(eq=False)
class Held:
    """The dense weights of a module while it is being called, and whether gradients were on when the call began."""

    tensors: dict[str, Tensor]
    grad: bool


_here = _Here()


@contextmanager
def calling(module: nn.Module) -> Iterator[None]:
    """While a module is called in this thread its weights are drawn once, however often they are read."""
    calls = _here.calls
    if module in calls:  # a module that calls itself
        yield
        return
    calls[module] = Held({}, torch.is_grad_enabled())
    try:
        yield
    finally:
        calls.pop(module, None)


def held_tensors(module: nn.Module) -> Held | None:
    """What the call of a module that is under way in this thread has drawn; None outside of a call."""
    return _here.calls.get(module)


@contextmanager
def saying(block: Block) -> Iterator[None]:
    """Let ``block`` hold in this thread; where blocks say different things of a module, the innermost counts."""
    answers = _here.answers  # the entering thread's, also where a generator is closed by another
    answers.set((*answers.blocks, block))
    try:
        yield
    finally:  # not the last one where generators end out of order
        answers.set(tuple(other for other in answers.blocks if other is not block))


def mode_of(module: nn.Module) -> str:
    """``local``, ``sample`` or ``mean``: how a layer or a scale is to answer in this thread."""
    mode: str = _here.answers.modes.get(module, module.mode)  # type: ignore[arg-type]
    return ("local" if module.training else "mean") if mode == "auto" else mode


def draw_of(module: nn.Module) -> Tensor | None:
    """The values that a weight or a scale has in this thread instead of its posterior, if any."""
    return _here.answers.draws.get(module, module.draw)  # type: ignore[arg-type]
