"""ReLU fused into the linear layer before it."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.modules import module as torchs

from szilard.bayes.layers import BayesLinear


class AppliedReLU(nn.Identity):
    """Replaces a ReLU that the linear layer before it applies, in networks that were pickled by version 0.1."""


class Rectifying(nn.Sequential):
    """A sequence in which a linear layer also applies the ReLU right after it; the modules themselves do not change."""

    def forward(self, x: Tensor) -> Tensor:
        modules = list(self._modules.values())
        done = False
        for place, module in enumerate(modules):
            if done:
                done = False
                continue
            after = modules[place + 1] if place + 1 < len(modules) else None
            if (
                type(module) is BayesLinear
                and type(after) is nn.ReLU
                and not (_hooked(module) or _hooked(after))
            ):
                x, done = module.forward(x, rectified=True), True
            else:
                x = module(x)
        return x


def fuse_rectifiers(network: nn.Module) -> None:
    """In every plain ``nn.Sequential``, fuse a ReLU into the stochastic linear layer right before it, in place."""
    for module in network.modules():
        if type(module) is nn.Sequential and any(
            type(child) is BayesLinear for child in module._modules.values()
        ):
            module.__class__ = Rectifying


def separate_rectifiers(network: nn.Module) -> None:
    """Undo :func:`fuse_rectifiers`, in place."""
    for module in network.modules():
        if type(module) is Rectifying:
            module.__class__ = nn.Sequential  # type: ignore[assignment]


def _hooked(module: nn.Module) -> bool:
    """Whether a module has hooks, or there are global ones."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or torchs._global_forward_hooks
        or torchs._global_forward_pre_hooks
        or torchs._global_backward_hooks
        or torchs._global_backward_pre_hooks
    )
