"""Which tensors of a network may be rounded: those whose meaning is known."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from szilard.bayes import BayesLayer, Weight
from szilard.bayes.groups import GroupScale, ScaledLayer
from szilard.compress.draft import Draft
from szilard.errors import SzilardWarning

UNDERSTOOD = (
    nn.Linear,
    _ConvNd,  # transposed ones, too
    nn.Bilinear,
    nn.Embedding,
    nn.EmbeddingBag,
    nn.MultiheadAttention,
    nn.RNNBase,
    nn.RNNCellBase,
    _NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.PReLU,
    BayesLayer,
    ScaledLayer,
    GroupScale,
    Weight,
)


def tensors(draft: Draft) -> Iterator[tuple[str, nn.Module, Tensor]]:
    """Name, owner and value of every finite floating-point tensor that a known layer owns; a tied one once."""
    seen: set[int] = set()
    for path, module in draft.network.named_modules():
        if not isinstance(module, UNDERSTOOD):
            continue
        for leaf, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            if tensor.is_floating_point() and tensor.numel() and id(tensor) not in seen:
                seen.add(id(tensor))
                if bool(torch.isfinite(tensor).all()):
                    yield f"{path}.{leaf}" if path else leaf, module, tensor.detach()


def left_raw(network: nn.Module) -> list[str]:
    """Names of the floating-point parameters that keep their exact bytes; says so in a warning."""
    known = {name for name, _, _ in tensors(Draft(network))}
    owned = {id(parameter) for name, parameter in network.named_parameters() if name in known}
    names = [
        name
        for name, parameter in network.named_parameters()
        if parameter.is_floating_point() and parameter.numel() and id(parameter) not in owned
    ]
    if names:
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        warnings.warn(
            f"{shown}: exact bytes are kept, because no pass knows the layer or values are not finite; the rest is "
            "compressed",
            SzilardWarning,
            stacklevel=3,
        )
    return names
