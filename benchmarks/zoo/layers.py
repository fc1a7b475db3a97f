"""Modules of the zoo's networks that torch.nn does not have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm


class Then(nn.Module):
    """Layers, and a function that is applied to their output."""

    def __init__(self, body: nn.Module, after: Callable[..., Any]) -> None:
        super().__init__()
        self.body, self.after = body, after

    def forward(self, x: Any) -> Any:
        return self.after(self.body(x))


class Call(nn.Module):
    """Named layers, and the function that calls them."""

    def __init__(self, how: Callable[..., Any], **layers: Any) -> None:
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.how = how

    def forward(self, *x: Any, **named: Any) -> Any:
        return self.how(self, *x, **named)


class Residual(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Twice(nn.Module):
    """One layer that is called twice."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(torch.relu(self.layer(x)))


class Doubled(nn.Linear):
    """A subclass with its own forward."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x).tanh()


class Centred(nn.Module):
    """A parametrisation."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight - weight.mean(1, keepdim=True)


class Tied(nn.Module):
    """An autoencoder whose decoder is the encoder's weight, transposed."""

    def __init__(self, width: int = 12, inside: int = 6) -> None:
        super().__init__()
        self.encoder = nn.Linear(width, inside)
        self.offset = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.encoder(x).tanh(), self.encoder.weight.t(), self.offset)


class Picked(nn.Module):
    """A recurrent network with a linear layer on its last output."""

    def __init__(self, core: nn.Module, width: int, k: int = 4) -> None:
        super().__init__()
        self.core, self.head = core, nn.Linear(width, k)

    def forward(self, x: Tensor) -> Tensor:
        answers, _ = self.core(x)
        return self.head(answers.mean(1))


class Unrolled(nn.Module):
    """A recurrent cell that is called for each time step."""

    def __init__(self, cell: nn.Module, width: int, k: int = 4) -> None:
        super().__init__()
        self.cell, self.head, self.width = cell, nn.Linear(width, k), width

    def forward(self, x: Tensor) -> Tensor:
        state, total = x.new_zeros(len(x), self.width), x.new_zeros(len(x), self.width)
        for step in x.unbind(1):
            state = self.cell(step, state)
            total = total + state
        return self.head(total / x.shape[1])


class TinyViT(nn.Module):
    """Patches, a class token and positions as bare parameters."""

    def __init__(self, width: int = 16, k: int = 4) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, width, 4, stride=4)
        self.token = nn.Parameter(0.1 * torch.randn(1, 1, width))
        self.position = nn.Parameter(0.1 * torch.randn(1, 5, width))
        self.block = nn.TransformerEncoderLayer(width, 2, 32, dropout=0.0, batch_first=True, norm_first=True)
        self.head = nn.Linear(width, k)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patch(x).flatten(2).transpose(1, 2)
        whole = torch.cat((self.token.expand(len(x), -1, -1), patches), 1) + self.position
        return self.head(self.block(whole).mean(1))


class Bare(nn.Module):
    """Matrices as bare parameters, one of them in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(0.3 * torch.randn(12, 24))
        self.rest = nn.ParameterList([0.2 * torch.randn(24, 4), torch.zeros(4)])

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x @ self.first) @ self.rest[0] + self.rest[1]


@dataclass
class Answer:
    """An output object like those of transformer libraries."""

    hidden: Tensor
    logits: Tensor


def removed(network: nn.Module) -> nn.Module:
    """Turn computed weights into ordinary ones with torch's functions."""
    for module in network.modules():
        if parametrize.is_parametrized(module):
            kind = type(module)  # removal deletes a property of the class, which copies of the module share
            own = {k: v for k, v in vars(kind).items() if k not in ("__dict__", "__weakref__")}
            module.__class__ = type(kind.__name__, kind.__bases__, own)
            for name in list(module.parametrizations):
                parametrize.remove_parametrizations(module, name)
        if hasattr(module, "weight_mask"):
            prune.remove(module, "weight")
        if hasattr(module, "weight_g"):
            remove_weight_norm(module)
        elif hasattr(module, "weight_orig"):
            remove_spectral_norm(module)
            module._load_state_dict_pre_hooks.clear()  # torch leaves a hook that needs weight_orig
    return network
