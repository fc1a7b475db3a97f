"""BatchNorm in its canonical form: four numbers a channel become one.

In eval mode ``γ (x - m) / √(v + ε) + β`` is ``a x + b``. Where ``x`` is the output of a convolution or linear map that
nobody else reads, ``a`` goes into its rows. ``b`` is left; γ, m and v become 1, 0 and 1 - ε, which cost nothing.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from szilard.bayes import BayesLayer
from szilard.bayes.groups import ScaledLayer
from szilard.compress.draft import Draft, Setting
from szilard.errors import SzilardWarning

Rows = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d


class CanonicalBatchNorm:
    """Rewrite every BatchNorm that has running statistics; the function in eval mode stays what it is.

    The network must not be trained further in train mode: its statistics are no longer those of its activations.
    """

    def __call__(self, draft: Draft, setting: Setting) -> None:
        before = before_norms(draft.network)
        names = {id(module): name for name, module in draft.network.named_modules()}
        for name, norm in draft.network.named_modules():
            if isinstance(norm, _BatchNorm) and norm.running_mean is not None and norm.affine:
                layer = before.get(name)
                _rewrite(norm, layer)
                if layer is not None:
                    draft.norms[name] = names[id(layer)]


def before_norms(network: nn.Module) -> dict[str, Rows]:
    """By the name of a BatchNorm, the convolution or linear map whose output goes there and nowhere else.

    Empty, with a warning, where the network's graph cannot be traced.
    """
    norms = {n: m for n, m in network.named_modules() if isinstance(m, _BatchNorm)}
    if not norms:
        return {}
    try:
        graph = Tracer().trace(network)
    except Exception as error:  # whatever a forward may do that has no graph
        warnings.warn(
            f"BatchNorm stays beside its convolutions, because the network has no static graph ({error}); "
            "the file is some per cent larger than it could be",
            SzilardWarning,
            stacklevel=2,
        )
        return {}
    modules = dict(network.named_modules())
    calls: dict[str, int] = {}
    for node in graph.nodes:
        if node.op == "call_module":
            calls[node.target] = calls.get(node.target, 0) + 1
    found = {}
    for node in graph.nodes:
        if node.op != "call_module" or node.target not in norms or calls[node.target] > 1:
            continue
        source = node.args[0] if node.args else None
        if not isinstance(source, fx.Node) or source.op != "call_module" or len(source.users) != 1:
            continue
        layer = modules[str(source.target)]
        if isinstance(layer, Rows) and calls[str(source.target)] == 1 and not _is_tied(network, layer.weight):
            found[node.target] = layer
    return found


class Tracer(fx.Tracer):
    """Modules without children are leaves, whoever wrote them, and so are Bayesian layers."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return (
            not any(m.children())
            or isinstance(m, BayesLayer | ScaledLayer)
            or super().is_leaf_module(m, module_qualified_name)
        )


def _is_tied(network: nn.Module, weight: Tensor) -> bool:
    return sum(p is weight for _, p in network.named_parameters(remove_duplicate=False)) > 1


@torch.no_grad()
def _rewrite(norm: _BatchNorm, layer: Rows | None) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    slope = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    offset = norm.bias.double() - slope * norm.running_mean.double()
    if layer is not None:
        if layer.bias is not None:
            offset += slope * layer.bias.double()
            layer.bias.zero_()
        shape = (-1,) + (1,) * (layer.weight.dim() - 1)
        layer.weight.mul_(slope.reshape(shape).to(layer.weight))
        slope = torch.ones_like(slope)
    norm.weight.copy_(slope)
    norm.bias.copy_(offset)
    norm.running_mean.zero_()
    norm.running_var.fill_(1 - norm.eps)
