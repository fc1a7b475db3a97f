"""Take dead units out of a network, so that what pruning saved on paper is saved in memory and time.

A unit is dead where all the weights into it are zero: what it says is a constant, which goes into the biases of those
who read it. It is as good as dead where nobody reads it.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from szilard.compress.batchnorm import Tracer
from szilard.errors import SzilardWarning

# Between two layers, what acts on every unit by itself and turns a constant map into a constant map.
_BY_UNIT = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Hardswish, nn.Identity,
    nn.Dropout, nn.Dropout2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, _BatchNorm,
)  # fmt: skip

Layer = nn.Linear | nn.Conv2d


@dataclass(frozen=True, eq=False)
class Link:
    """A layer, those of its readers' path that act by unit, and its only reader."""

    source: Layer
    between: list[nn.Module]
    reader: Layer
    spread: int  # columns of the reader for each unit: pixels that were flattened


def shrink(network: nn.Module) -> nn.Module:
    """A copy without its dead units, which answers as ``network`` does in eval mode but for rounding.

    Chains of linear maps and convolutions are shortened, through rectifiers, pooling, BatchNorm and flattening; where
    an output has several readers, as at a shortcut, it is left alone.
    """
    network = copy.deepcopy(network).eval()
    try:
        links = list(_links(network))
    except Exception as error:  # whatever a forward may do that has no graph
        warnings.warn(
            f"the network has no static graph ({error}), so no unit is taken out of it",
            SzilardWarning,
            stacklevel=2,
        )
        return network
    removed = 0
    changed = True
    while changed:  # a unit that leaves may leave another one unread
        found = [_shorten(link) for link in links]
        changed = any(found)
        removed += sum(found)
    if not removed:
        warnings.warn("no unit of the network is dead, so none is taken out", SzilardWarning, stacklevel=2)
    return network


def _links(network: nn.Module) -> Iterator[Link]:
    graph = Tracer().trace(network)
    modules = dict(network.named_modules())
    calls: dict[str, int] = {}
    for node in graph.nodes:
        if node.op == "call_module":
            calls[node.target] = calls.get(node.target, 0) + 1
    for node in graph.nodes:
        source = modules[node.target] if node.op == "call_module" else None
        if not isinstance(source, Layer) or calls[node.target] > 1 or getattr(source, "groups", 1) > 1:
            continue
        between: list[nn.Module] = []
        flat = False
        place = node
        while len(place.users) == 1:
            place = next(iter(place.users))
            module = modules[place.target] if place.op == "call_module" else _as_module(place)
            if isinstance(module, nn.Flatten):
                flat = True
            elif isinstance(module, _BY_UNIT) and (place.op != "call_module" or calls[place.target] == 1):
                between.append(module)
            else:
                spread = _spread(source, module, flat)
                if isinstance(module, Layer) and calls[place.target] == 1 and spread:
                    yield Link(source, between, module, spread)
                break


def _as_module(node: fx.Node) -> nn.Module | None:
    """A function in the graph as the module that does the same."""
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    if name in ("relu", "relu_"):
        return nn.ReLU()
    if name == "flatten" and (*node.args[1:], *node.kwargs.values()) == (1,):
        return nn.Flatten()
    return None


def _spread(source: Layer, reader: nn.Module | None, flat: bool) -> int:
    """Columns of the reader that belong to one unit; 0 where they do not fit together."""
    units = len(source.weight)
    if isinstance(reader, nn.Conv2d):
        return 1 if isinstance(source, nn.Conv2d) and not flat and reader.groups == 1 else 0
    if not isinstance(reader, nn.Linear) or (isinstance(source, nn.Conv2d) and not flat):
        return 0
    return reader.in_features // units if reader.in_features % units == 0 else 0


@torch.no_grad()
def _shorten(link: Link) -> int:
    """Take the dead units of a link out; returns how many."""
    source, reader, spread = link.source, link.reader, link.spread
    says = _constants(link)
    dead = _dead(link, says)
    if not dead.any():
        return 0
    keep = ~dead
    share = torch.where(dead, says, 0)
    if isinstance(reader, nn.Linear):
        columns = keep.repeat_interleave(spread)
        offset = reader.weight @ share.repeat_interleave(spread)
        reader.in_features = int(columns.sum())
    else:
        columns = keep
        offset = torch.einsum("ouhw,u->o", reader.weight, share)
        reader.in_channels = int(columns.sum())
    if offset.any():
        reader.bias = nn.Parameter(offset if reader.bias is None else reader.bias + offset)
    reader.weight = nn.Parameter(reader.weight[:, columns].clone())
    _keep_units(source, keep)
    for module in link.between:
        if isinstance(module, _BatchNorm):
            _keep_channels(module, keep)
    return int(dead.sum())


def _dead(link: Link, says: Tensor) -> Tensor:
    """Which units can leave, bool ``[units]``; never all, because a layer cannot be empty."""
    units, reader = len(link.source.weight), link.reader
    silent = link.source.weight.reshape(units, -1).abs().amax(1) == 0
    if isinstance(reader, nn.Conv2d) and reader.padding not in (0, (0, 0), "valid"):
        silent &= says == 0  # a constant is none at a border of zeros
    read = reader.weight.transpose(0, 1).reshape(units, -1).abs().amax(1) > 0
    dead = silent | ~read
    dead[0] &= not bool(dead.all())
    return dead


def _keep_units(layer: Layer, keep: Tensor) -> None:
    layer.weight = nn.Parameter(layer.weight[keep].clone())
    if layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias[keep].clone())
    if isinstance(layer, nn.Linear):
        layer.out_features = int(keep.sum())
    else:
        layer.out_channels = int(keep.sum())


def _constants(link: Link) -> Tensor:
    """What each unit would say to the reader if all weights into it were zero, ``[units]``."""
    source = link.source
    value = torch.zeros(len(source.weight)) if source.bias is None else source.bias.detach()
    for module in link.between:
        if isinstance(module, _BatchNorm):
            value = module(
                value[None] if isinstance(module, nn.BatchNorm1d) else value[None, :, None, None]
            ).flatten()
        elif not isinstance(module, nn.MaxPool2d | nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d):
            value = module(value)
    return value


def _keep_channels(norm: _BatchNorm, keep: Tensor) -> None:
    norm.num_features = int(keep.sum())
    for name in ("weight", "bias"):
        tensor = getattr(norm, name)
        if tensor is not None:
            setattr(norm, name, nn.Parameter(tensor[keep].clone()))
    for name in ("running_mean", "running_var"):
        tensor = getattr(norm, name)
        if tensor is not None:
            setattr(norm, name, tensor[keep].clone())
