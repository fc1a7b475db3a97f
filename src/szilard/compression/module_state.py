"""Tensors and sizes of a module, to undo a change of them."""

from __future__ import annotations

from torch import nn


class ModuleState:
    """What a module holds now. Its tensors have to be replaced, not written into.

    Args:
        module: not changed.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.parts = dict(module._parameters), dict(module._buffers)
        self.sizes = {name: value for name, value in vars(module).items() if isinstance(value, int)}

    def restore(self) -> None:
        """Undo all changes."""
        self.module._parameters.update(self.parts[0])
        self.module._buffers.update(self.parts[1])
        vars(self.module).update(self.sizes)
