"""Eval mode for a while, also where several threads ask one network at once."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn

from szilard.locks import Lock

_lock = Lock()  # under it runs network.eval(), which a user's class may override


class _Block:
    """One ``with evaluating(...)``: the thread that entered it, and the mode in which it found each module."""

    def __init__(self, modules: list[nn.Module]) -> None:
        self.thread = threading.get_ident()
        self.modules = modules
        self.found = {id(module): module.training for module in modules}


@dataclass
class _Held:
    """A module that some block holds in eval mode."""

    module: nn.Module
    training: bool  # before the first of its blocks
    blocks: list[_Block] = field(default_factory=list)


_held: dict[int, _Held] = {}  # by the id of the module, which the entry keeps alive


def settle_threads() -> None:
    """Let the calling thread work with as many threads inside torch as :func:`torch.set_num_threads` has said.

    A new thread learns of that number in its first parallel operation, and a product before that adds up in the order
    of another number. Asking for the number makes the thread learn it.
    """
    torch.get_num_threads()


@contextmanager
def evaluating(network: nn.Module) -> Iterator[nn.Module]:
    """Eval mode inside the block, each module's own mode restored after it.

    Threads may be inside at once, on one network or on networks that share modules: what a module was before
    the first came in is restored when the last has left.
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
        elif all(other.thread == block.thread for other in held.blocks):  # nested: nobody else is looking
            module.training = block.found[id(module)]


def _after_fork() -> None:
    """In a forked process only the thread that forked is there: the others' blocks have ended."""
    here = threading.get_ident()
    for held in list(_held.values()):
        held.blocks = [block for block in held.blocks if block.thread == here]
        if not held.blocks:
            held.module.training = held.training
            del _held[id(held.module)]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
