"""Eval mode for one block of code, also if several threads run one network at the same time."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn

from szilard.locks import Lock

_lock = Lock()  # held while network.eval() runs, which a user's class can override


class _Block:
    """One ``with evaluating(...)``: the thread that entered it, and the mode of each module at that time."""

    def __init__(self, modules: list[nn.Module]) -> None:
        self.thread = threading.get_ident()
        self.modules = modules
        self.found = {id(module): module.training for module in modules}


@dataclass
class _Held:
    """A module that at least one block holds in eval mode."""

    module: nn.Module
    training: bool  # before the first of its blocks
    blocks: list[_Block] = field(default_factory=list)


_held: dict[int, _Held] = {}  # by the id of the module, which the entry keeps alive


def settle_threads() -> None:
    """Make the calling thread use the number of torch threads set by :func:`torch.set_num_threads`.

    A new thread applies that number in its first parallel operation only; a matrix product before that sums in another
    order and rounds differently. Reading the number makes the thread apply it.
    """
    torch.get_num_threads()


@contextmanager
def evaluating(network: nn.Module) -> Iterator[nn.Module]:
    """Eval mode inside the block; afterwards the mode of each module is restored.

    Several threads can be inside at the same time, on one network or on networks that share modules: the mode that a
    module had before the first thread entered is restored when the last one leaves.
    """
    settle_threads()
    with _lock:
        block = _Block(list(network.modules()))
        for module in block.modules:
            _held.setdefault(id(module), _Held(module, module.training)).blocks.append(block)
    try:
        with _lock:
            network.eval()
        yield network
    finally:
        with _lock:
            _leave(block)


def _leave(block: _Block) -> None:
    for module in block.modules:
        held = _held[id(module)]
        held.blocks.remove(block)
        if not held.blocks:
            module.training = held.training
            del _held[id(module)]
        elif all(other.thread == block.thread for other in held.blocks):  # nested blocks of one thread
            module.training = block.found[id(module)]


def _after_fork() -> None:
    """Only the thread that forked exists in the forked process: drop the blocks of all others."""
    here = threading.get_ident()
    for held in list(_held.values()):
        held.blocks = [block for block in held.blocks if block.thread == here]
        if not held.blocks:
            held.module.training = held.training
            del _held[id(held.module)]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
