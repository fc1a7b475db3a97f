"""Copies of a network that take little memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from szilard import file
from szilard.networks import copied

AT_ONCE = 1 << 22  # bytes of tensors that are decoded before they are put into the network
LARGE = 1 << 16  # bytes; smaller tensors are not emptied


def sharing(network: nn.Module) -> nn.Module:
    """A copy with its own mode and buffers that shares the network's parameters.

    The parameters must not be changed. Computed weights are copied (:func:`szilard.networks.copied`).
    """
    memo: dict[int, object] = {id(p): p for p in network.parameters()}
    return copied(network, memo)


def inner(network: nn.Module) -> tuple[nn.Module, list[str]]:
    """The network inside wrappers such as ``DataParallel`` and ``torch.compile``, and a note for each wrapper."""
    notes = []
    while True:
        if isinstance(network, nn.DataParallel | nn.parallel.DistributedDataParallel):
            found, prefix = network.module, "module."
        elif "_orig_mod" in network._modules and type(network).__name__ == "OptimizedModule":
            found, prefix = network._modules["_orig_mod"], "_orig_mod."
        else:
            break
        notes.append(f"the network inside {type(network).__name__} is in the file; names have no {prefix!r}")
        assert isinstance(found, nn.Module)
        network = found
    if any(p.is_inference() for p in (*network.parameters(), *network.buffers())):
        network = copied(network)
    return network, notes


class Working:
    """A copy that is reused by all attempts: it is made once, and reset to the original each time.

    Args:
        original: in eval mode; it is not changed.
    """

    def __init__(self, original: nn.Module) -> None:
        self.original = original
        self._network: nn.Module | None = None
        self._built: list[Any] = []

    def fresh(self) -> nn.Module:
        """The copy, reset to the original. Earlier results of this method are the same object and change, too."""
        if self._network is None or not self.intact():
            self._network = None
            self._network = copied(self.original)
            self._built = _structure(self._network)
            return self._network
        with torch.no_grad():
            for tensor, value in zip(_tensors(self._network), _tensors(self.original), strict=True):
                tensor.copy_(value)
        return self._network

    def intact(self) -> bool:
        """Whether the copy still has the modules and tensors that it was made with."""
        return self._network is not None and _structure(self._network) == self._built

    def present(self) -> nn.Module:
        """The copy in its present state."""
        assert self._network is not None
        return self._network

    def let_go(self) -> None:
        """Stop using the copy, which its holder can keep; :meth:`fresh` makes another."""
        self._network = None


@contextmanager
def emptied(network: nn.Module, names: Iterable[str]) -> Iterator[None]:
    """Free the memory of large tensors of a working copy inside the block. Their values are undefined afterwards.

    Args:
        names: entries of the state dict that will be overwritten; those that share memory with others are kept.
    """
    if any(isinstance(module, torch.jit.ScriptModule) for module in network.modules()):
        yield  # TorchScript modules are identified by the addresses of their tensors
        return
    state = network.state_dict(keep_vars=True)
    freed = []
    try:
        for name in names:
            tensor = state.get(name)
            if tensor is None or tensor.device.type != "cpu" or tensor.layout is not torch.strided:
                continue
            storage, size = tensor.untyped_storage(), tensor.numel() * tensor.element_size()
            if size >= LARGE and storage.nbytes() == size and storage.resizable():
                freed.append((storage, size))
                storage.resize_(0)
        yield
    finally:
        for storage, size in freed:
            storage.resize_(size)


def fill(network: nn.Module, data: bytes) -> None:
    """Load the contents of a file into a network, a few tensors at a time.

    Args:
        data: bytes of a file of this network's state dict.
    """
    if not all(_loads_plainly(module) for module in network.modules()):
        network.load_state_dict(file.to_state_dict(file.loads(data)))
        return
    pending: dict[str, Tensor] = {}

    def take(name: str, tensor: Tensor) -> None:
        pending[name] = tensor
        if sum(t.numel() * t.element_size() for t in pending.values()) > AT_ONCE:
            network.load_state_dict(pending, strict=False)
            pending.clear()

    file.each_tensor(data, take)
    network.load_state_dict(pending, strict=False)


def _loads_plainly(module: nn.Module) -> bool:
    """Whether a module can load its tensors one by one; some users' modules, and sparse ones, need all at once."""
    usual = (nn.Module._load_from_state_dict, _NormBase._load_from_state_dict)
    return (
        type(module)._load_from_state_dict in usual
        and type(module).load_state_dict is nn.Module.load_state_dict
        and type(module).state_dict is nn.Module.state_dict
        and type(module).set_extra_state is nn.Module.set_extra_state
        and not module._load_state_dict_pre_hooks
        and not module._load_state_dict_post_hooks
        and not module._state_dict_hooks
    )


def _structure(network: nn.Module) -> list[Any]:
    """What a pass must not change if the copy is to be reused: modules, tensors and plain attributes."""
    return [
        (
            name,
            id(module),
            type(module),
            [(key, _known(module, t)) for key, t in module._parameters.items()],
            [(key, _known(module, t)) for key, t in module._buffers.items()],
            [
                (key, value)
                for key, value in vars(module).items()
                if isinstance(value, bool | int | float | str | None)
            ],
            [list(hooks) for hooks in (module._forward_hooks, module._forward_pre_hooks)],
        )
        for name, module in network.named_modules()
    ]


def _known(module: nn.Module, tensor: Tensor | None) -> Any:
    """The identity of a tensor."""
    if tensor is None:
        return None
    # TorchScript makes a new object each time that a tensor is read.
    same = tensor.data_ptr() if isinstance(module, torch.jit.ScriptModule) else id(tensor)
    return same, tensor.shape, tensor.dtype, tensor.device


def _tensors(network: nn.Module) -> Iterator[Tensor]:
    yield from network.parameters()
    yield from network.buffers()
