"""Remove dead units from a network, so that pruning saves memory and time.

A unit is dead if all weights into it are zero: its output is a constant, which is added to the biases of the next
layer. A unit whose outgoing weights are all zero is removed, too. Channels that are tied, as by a residual sum, are
removed if they are zero in all layers that make them.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy

from szilard.compression.channels.cutting import cut
from szilard.compression.graph import POOLS, Graph, Run
from szilard.compression.module_state import ModuleState
from szilard.compression.parametrisations import plain_note, without_parametrisations
from szilard.compression.probe import Probe
from szilard.compression.tied_units import remove_tied
from szilard.compression.unit_links import Link, links
from szilard.errors import SzilardError, SzilardWarning, printable
from szilard.networks import copied


def shrink(network: nn.Module, inputs: Any = None) -> nn.Module:
    """A copy without dead units, with the outputs of ``network`` in eval mode up to rounding.

    Units are removed from linear layers and convolutions that are connected through activations, pooling, BatchNorm and
    flattening. Channels with several makers or readers, as at a shortcut, a concatenation or a grouped convolution, are
    removed if they are zero wherever they are made, and if no number of channels is a constant in the forward. Layers
    stay that are not exactly torch's own, have hooks, or are read in other places. Computed weights, as of weight norm
    and ``prune``, become ordinary ones first. After each step the outputs for a few inputs are compared; if they
    differ, the channels stay, with a warning.

    Args:
        network: with zeros for pruned weights.
        inputs: a batch as the network takes it, of any structure; by default random ones of all shapes that it takes.
            Without ``inputs``, a linear layer before a BatchNorm stays if both ``[B, features]`` and
            ``[B, C, features]`` run.

    Raises:
        SzilardError: a parameter has no shape yet.
    """
    lazy = next((name for name, p in network.named_parameters() if is_lazy(p)), None)
    if lazy is not None:
        raise SzilardError(f"{lazy} has no shape yet; call the network once on a batch before shrinking it")
    network = copied(network).eval()
    probe = Probe.of_batch(network, inputs)
    network, names = without_parametrisations(network, probe)
    if names:
        _warn(plain_note(names))
    try:
        graph = Graph.of(network)
    except Exception as error:  # any error of a forward that cannot be traced
        _warn(f"the network has no static graph ({printable(str(error), 200)}), so no unit is removed")
        return network
    if probe is None:
        _warn(
            "no unit is removed from the network, because no input is known for which its outputs could be compared; "
            "give inputs"
        )
        return network
    found = list(links(graph, Run.of(network, probe.inputs, probe.forward)))
    removed, changed = 0, True
    kept: set[str] = set()  # pools of tied channels
    while changed:  # removing a unit can make another one dead
        changed = False
        for link in list(found):
            count = _try(link, network, probe)
            if count is None:
                found.remove(link)
            else:
                changed |= count > 0
                removed += count
        if not changed:
            count = remove_tied(network, probe, kept)
            changed = count > 0
            removed += count
    if not removed:
        _warn("no unit of the network is dead, or none can be removed; the network is unchanged")
    return network


def _try(link: Link, network: nn.Module, probe: Probe) -> int | None:
    """Remove dead units if the outputs stay the same; returns how many, or None if they do not."""
    if not _dead(link, _constants(link)).any():
        return 0
    name = printable(link.name)
    if link.unsure is not None:
        _warn(
            f"dead units of {name} stay, because BatchNorm {printable(link.unsure)} does not normalise units if "
            "inputs are sequences; give inputs to shrink"
        )
        return None
    saved = [ModuleState(module) for module in (link.source, link.reader, *link.between)]
    count = _shorten(link)
    if probe.agrees(network):
        return count
    for one in saved:
        one.restore()
    _warn(f"dead units of {name} stay, because the network's outputs would change without them")
    return None


@torch.no_grad()
def _shorten(link: Link) -> int:
    """Remove the dead units of a link; returns how many."""
    source, reader, spread = link.source, link.reader, link.spread
    constants = _constants(link)
    dead = _dead(link, constants)
    keep = ~dead
    share = torch.where(dead, constants, 0)
    if isinstance(reader, nn.Linear):
        columns = keep.repeat_interleave(spread)
        offset = reader.weight @ share.repeat_interleave(spread)
    else:
        columns = keep
        offset = reader.weight.flatten(2).sum(2) @ share
    if offset.any():
        reader.bias = nn.Parameter(offset if reader.bias is None else reader.bias + offset)
    cut(reader, inputs=columns)
    cut(source, outputs=keep)
    for module in link.between:
        if isinstance(module, _BatchNorm):
            cut(module, outputs=keep)
    return int(dead.sum())


def _dead(link: Link, constants: Tensor) -> Tensor:
    """Which units can be removed, bool ``[units]``; never all, because a layer cannot be empty."""
    units, reader = len(link.source.weight), link.reader
    silent = link.source.weight.reshape(units, -1).abs().amax(1) == 0
    if not isinstance(reader, nn.Linear) and reader.padding not in (0, (0,), (0, 0), "valid"):
        silent &= constants == 0  # with zero padding the constant differs at the border
    read = reader.weight.transpose(0, 1).reshape(units, -1).abs().amax(1) > 0
    dead = silent | ~read
    dead[0] &= not bool(dead.all())
    return dead


@torch.no_grad()
def _constants(link: Link) -> Tensor:
    """Output of each unit if all weights into it were zero, ``[units]``."""
    weight, bias = link.source.weight, link.source.bias
    # A copy, because the next module can work in place.
    value = weight.new_zeros(len(weight)) if bias is None else bias.detach().clone()
    for module in link.between:
        if isinstance(module, _BatchNorm):
            value = module(
                value[None] if isinstance(module, nn.BatchNorm1d) else value[None, :, None, None]
            ).flatten()
        elif not isinstance(module, tuple(POOLS)):
            value = module(value)
    return value


def _warn(text: str) -> None:
    warnings.warn(text, SzilardWarning, stacklevel=3)
