"""How a module is converted: linear maps, convolutions and attention of torch become layers, others draw weights."""

from __future__ import annotations

import functools
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from szilard.bayes import recurrent
from szilard.networks import is_itself

How = Literal["linear", "convolution", "attention", "drawn", "nothing"]

_LINEAR = (nn.Linear, NonDynamicallyQuantizableLinear)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
_WEIGHT_ONLY = (nn.Linear, _ConvNd, nn.Embedding, nn.EmbeddingBag, nn.Bilinear)  # their matrix is "weight"
_ATTENTION = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")


def how(module: nn.Module) -> How:
    """How a module is converted: ``nothing`` if it has no known matrix."""
    if is_itself(module, _LINEAR) and _adds_nothing(module):
        return "linear"
    if is_itself(module, _CONVOLUTIONS) and _adds_nothing(module):
        return "convolution"
    if isinstance(module, nn.MultiheadAttention) and _is_plain_attention(module):
        return "attention"
    return "drawn" if matrices(module) else "nothing"


def matrices(module: nn.Module) -> list[str]:
    """Names of the matrices of a module of torch or of a subclass of one, without bare ones."""
    if isinstance(module, torch.jit.ScriptModule):
        return []
    if isinstance(module, nn.RNNBase | nn.RNNCellBase):
        names = recurrent.matrices(module)
    elif isinstance(module, nn.MultiheadAttention):
        names = list(_ATTENTION)
    elif isinstance(module, _WEIGHT_ONLY):
        names = ["weight"]
    else:
        names = []
    return [name for name in names if module._parameters.get(name) is not None]


def extra(module: nn.Module) -> dict[str, object]:
    """Attributes that were added to a linear map or a convolution of torch, by name."""
    usual = _usual(type(module))  # type: ignore[arg-type]
    return {name: value for name, value in vars(module).items() if name not in usual}


def _adds_nothing(module: nn.Module) -> bool:
    """Whether a module of torch has no gradient hooks and no added tensors, modules or callables."""
    return (
        not (module._backward_hooks or module._backward_pre_hooks or module._buffers or module._modules)
        and module._parameters.keys() <= {"weight", "bias"}
        and not any(callable(value) or isinstance(value, Tensor) for value in extra(module).values())
    )


def _is_plain_attention(module: nn.MultiheadAttention) -> bool:
    return (
        is_itself(module, (nn.MultiheadAttention,))
        and not (module._backward_hooks or module._backward_pre_hooks or module._buffers)
        and module._modules.keys() == {"out_proj"}
        and how(module.out_proj) == "linear"
        and module.bias_k is None
        and not module.add_zero_attn
        and not extra(module)
    )


@functools.cache
def _usual(kind: type[nn.Module]) -> frozenset[str]:
    """Attributes that an object of a class of torch has. Made on the meta device, so no random numbers are drawn."""
    sizes = (2, 1) if kind is nn.MultiheadAttention else (1, 1) if kind in _LINEAR else (1, 1, 1)
    return frozenset(vars(kind(*sizes, device="meta")))
