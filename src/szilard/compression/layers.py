"""The tensors of a network that can be rounded: all parameters, and buffers of known modules."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from szilard.bayes import BayesLayer, Weight
from szilard.bayes.groups import GroupScale, ScaledLayer
from szilard.compression.draft import Draft
from szilard.compression.finite import all_finite
from szilard.errors import SzilardWarning

TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
# Modules whose buffers are statistics, which can be rounded like weights.
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
    """Name, owner and value of every finite floating-point tensor that can be rounded; tied tensors once.

    These are the parameters of all modules, and the buffers of known modules.
    """
    seen: set[int] = set()
    for path, module in draft.network.named_modules():
        owned = list(module.named_parameters(recurse=False))
        if isinstance(module, UNDERSTOOD):
            owned += module.named_buffers(recurse=False)
        for leaf, tensor in owned:
            if tensor.dtype in TYPES and tensor.numel() and id(tensor) not in seen:
                seen.add(id(tensor))
                if all_finite(tensor):
                    yield f"{path}.{leaf}" if path else leaf, module, tensor.detach()


def warn_of_exact_tensors(network: nn.Module) -> list[str]:
    """Names of the parameters that keep their exact bytes; a warning names them, too."""
    known = {name for name, _, _ in tensors(Draft(network))}
    owned = {id(parameter) for name, parameter in network.named_parameters() if name in known}
    names = [
        name
        for name, parameter in network.named_parameters()
        if (parameter.is_floating_point() or parameter.is_complex())
        and parameter.numel()
        and id(parameter) not in owned
    ]
    if names:
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        warnings.warn(
            f"{shown}: stored as exact bytes, because values are complex, of eight bits or not finite; the other "
            "tensors are compressed",
            SzilardWarning,
            stacklevel=3,
        )
    return names


def last_matrix(network: nn.Module) -> str:
    """Name of the last matrix: its rows are probably outputs, which can have different units."""
    names = [name for name, p in network.named_parameters() if p.dim() > 1]
    return names[-1] if names else ""
