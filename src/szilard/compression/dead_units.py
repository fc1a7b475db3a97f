"""Take dead units out of a network, so that what pruning saved on paper is saved in memory and time.

A unit is dead where all the weights into it are zero: what it says is a constant, which goes into the biases of those
who read it. It is as good as dead where nobody reads it.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy

from szilard.compression.graph import POOLS, Graph, Run
from szilard.compression.links import Layer, Link, links
from szilard.compression.plain import plain, told
from szilard.compression.probe import Probe
from szilard.errors import SzilardError, SzilardWarning, printable
from szilard.networks import copied


def shrink(network: nn.Module, inputs: Any = None) -> nn.Module:
    """A copy without its dead units, which answers as ``network`` does in eval mode but for rounding.

    Chains of linear maps and convolutions are shortened, through rectifiers, pooling, BatchNorm and flattening; where
    an output has several readers, as at a shortcut, it is left alone. So is what is not exactly a layer of torch's own,
    has hooks, or is read in other places; computed weights, as of weight norm and ``prune``, become ordinary ones
    first. After each layer the answers to a few inputs are compared; where they differ it stays whole, with a warning.

    Args:
        network: with zeros where something was pruned.
        inputs: a batch as the network takes it, of any structure; by default random ones of all shapes that it takes.
            Without them, a linear map before a BatchNorm stays if both ``[B, features]`` and ``[B, C, features]`` run.

    Raises:
        SzilardError: a parameter has no shape yet.
    """
    lazy = next((name for name, p in network.named_parameters() if is_lazy(p)), None)
    if lazy is not None:
        raise SzilardError(f"{lazy} has no shape yet; call the network once on a batch before shrinking it")
    network = copied(network).eval()
    probe = Probe.of_batch(network, inputs)
    network, names = plain(network, probe)
    if names:
        _warn(told(names))
    try:
        graph = Graph.of(network)
    except Exception as error:  # whatever a forward may do that has no graph
        _warn(
            f"the network has no static graph ({printable(str(error), 200)}), so no unit is taken out of it"
        )
        return network
    if probe is None:
        _warn(
            "no unit is taken out of the network, because no input is known on which its answers could be compared; "
            "give inputs"
        )
        return network
    found = list(links(graph, Run.of(network, probe.inputs, probe.forward)))
    removed, changed = 0, True
    while changed:  # a unit that leaves may leave another one unread
        changed = False
        for link in list(found):
            count = _try(link, network, probe)
            if count is None:
                found.remove(link)
            else:
                changed |= count > 0
                removed += count
    if not removed:
        _warn("no unit of the network is dead, or none can be taken out, so that it stays as it is")
    return network


def _try(link: Link, network: nn.Module, probe: Probe) -> int | None:
    """Take dead units out if the answers stay; returns how many, or None where they would not."""
    if not _dead(link, _constants(link)).any():
        return 0
    name = printable(link.name)
    if link.unsure is not None:
        _warn(
            f"dead units of {name} stay, because BatchNorm {printable(link.unsure)} normalises something else where "
            "inputs are sequences; give inputs to shrink"
        )
        return None
    saved = [_Saved(module) for module in (link.source, link.reader, *link.between)]
    count = _shorten(link)
    if probe.agrees(network):
        return count
    for one in saved:
        one.restore()
    _warn(f"dead units of {name} stay, because the network's answers would change without them")
    return None


class _Saved:
    """Tensors and sizes of a module; new ones are put in their place, and none is written into."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.parts = dict(module._parameters), dict(module._buffers)
        self.sizes = {name: value for name, value in vars(module).items() if isinstance(value, int)}

    def restore(self) -> None:
        self.module._parameters.update(self.parts[0])
        self.module._buffers.update(self.parts[1])
        vars(self.module).update(self.sizes)


@torch.no_grad()
def _shorten(link: Link) -> int:
    """Take the dead units of a link out; returns how many."""
    source, reader, spread = link.source, link.reader, link.spread
    says = _constants(link)
    dead = _dead(link, says)
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


@torch.no_grad()
def _constants(link: Link) -> Tensor:
    """What each unit would say to the reader if all weights into it were zero, ``[units]``."""
    weight, bias = link.source.weight, link.source.bias
    # A copy: what comes next may work in place.
    value = weight.new_zeros(len(weight)) if bias is None else bias.detach().clone()
    for module in link.between:
        if isinstance(module, _BatchNorm):
            value = module(
                value[None] if isinstance(module, nn.BatchNorm1d) else value[None, :, None, None]
            ).flatten()
        elif not isinstance(module, POOLS):
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


def _warn(text: str) -> None:
    warnings.warn(text, SzilardWarning, stacklevel=3)
