"""Branches that a sum adds to a shortcut: without channels they add nothing, and the sum is its shortcut."""

from __future__ import annotations

import operator
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from szilard.networks.norm import NormReLU
from szilard.networks.resnet import PaddedShortcut

_SUMS = (operator.add, operator.iadd, torch.add)
_SUM_METHODS = ("add", "add_")
_RELUS = (F.relu, torch.relu, torch.relu_, F.relu_)


@dataclass(frozen=True)
class Branch:
    """The end of a branch.

    Attributes:
        reader: the last layer of the branch, which reads only the channels of one pool.
        norm: the BatchNorm after it; empty if there is none.
        add: name of the node in the graph that adds the shortcut; the norm's own if it is a NormReLU.
    """

    reader: str
    norm: str
    add: str


def branches(
    graph: fx.Graph,
    modules: Mapping[str, nn.Module],
    values: Mapping[fx.Node, object],
    reads: Mapping[str, tuple[int, Mapping[str, int]]],
    makers: Mapping[str, Collection[str]],
    of_layer: Mapping[str, Collection[str]],
    fixed: Mapping[str, int],
) -> dict[str, Branch]:
    """The pools that can lose all of their channels, with the branches that end then.

    Args:
        graph: of the network.
        modules: by name.
        values: what each node returned.
        reads: for each layer, the number of its inputs that stay, and its inputs by pool.
        makers: for each pool, the layers whose outputs it holds.
        of_layer: pools of each layer's outputs.
        fixed: number of output channels of each layer that stay.
    """
    nodes = {str(node.target): node for node in graph.nodes if node.op == "call_module"}
    found = {}
    for pool, layers in makers.items():
        readers = [name for name, (_, held) in reads.items() if pool in held]
        if len(layers) != 1 or len(readers) != 1:
            continue
        maker, reader = next(iter(layers)), readers[0]
        alone = fixed[maker] == 0 and set(of_layer[maker]) == {pool}
        if not alone or reads[reader][0] or set(reads[reader][1]) != {pool} or reader not in nodes:
            continue
        branch = _end(nodes[reader], modules, values)
        if branch is not None:
            found[pool] = branch
    return found


def _end(node: fx.Node, modules: Mapping[str, nn.Module], values: Mapping[fx.Node, object]) -> Branch | None:
    """The sum that only adds the output of a layer, or of the BatchNorm after it, to another tensor."""
    reader, norm = str(node.target), ""
    if len(node.users) != 1:
        return None
    after = next(iter(node.users))
    module = modules.get(str(after.target)) if after.op == "call_module" else None
    if isinstance(module, _BatchNorm):
        if after.args[:1] != (node,) or module.running_mean is None:
            return None
        norm = str(after.target)
        if isinstance(module, NormReLU):
            shortcut = _shortcut(after)
            fits = shortcut is not None and shortcut is not node
            return Branch(reader, norm, after.name) if fits else None
        if len(after.users) != 1:
            return None
        node, after = after, next(iter(after.users))
    sums = (after.op == "call_function" and after.target in _SUMS) or (
        after.op == "call_method" and after.target in _SUM_METHODS
    )
    if not sums or after.kwargs or len(after.args) != 2 or len(after.all_input_nodes) != 2:
        return None
    other = after.args[1] if after.args[0] is node else after.args[0]
    same = _shape(values.get(other)) == _shape(values.get(node)) == _shape(values.get(after))  # type: ignore[arg-type]
    return Branch(reader, norm, after.name) if same else None


def _shortcut(node: fx.Node) -> fx.Node | None:
    given = node.args[1] if len(node.args) > 1 else node.kwargs.get("shortcut")
    return given if isinstance(given, fx.Node) else None


def _shape(value: object) -> tuple[int, ...] | None:
    return tuple(value.shape) if isinstance(value, Tensor) else None


@torch.no_grad()
def silence_end(branch: Branch, modules: Mapping[str, nn.Module]) -> None:
    """Let a branch without channels add zeros, in place, in a network of unchanged shapes.

    Args:
        branch: whose layers read zeros.
        modules: of the network, by name.
    """
    for name in filter(None, (branch.reader, branch.norm)):
        module = modules[name]
        assert isinstance(module, nn.Linear | _ConvNd | _BatchNorm)
        for tensor in (module.weight, module.bias, getattr(module, "running_mean", None)):
            if tensor is not None:
                tensor.zero_()


@torch.no_grad()
def end_branches(network: fx.GraphModule, empty: Collection[Branch], nodes: Mapping[str, fx.Node]) -> None:
    """Replace sums by their shortcuts where the branch has no channels; in place.

    The layers of the branch that nothing else reads leave the network. A ReLU of what is rectified already goes, too.

    Args:
        network: whose graph is changed.
        empty: branches without channels.
        nodes: of the graph, by their names when the branches were found.
    """
    if not empty:
        return
    modules = dict(network.named_modules(remove_duplicate=False))
    for branch in empty:
        node = nodes[branch.add]
        joined = isinstance(modules.get(branch.norm), NormReLU)
        last = branch.reader if joined else branch.norm or branch.reader
        shortcut = next(one for one in node.all_input_nodes if str(one.target) != last)
        if joined and not _is_rectified(shortcut, modules):
            with network.graph.inserting_before(node):
                rectified = network.graph.call_function(F.relu, (shortcut,))
            node.replace_all_uses_with(rectified)
        else:
            node.replace_all_uses_with(shortcut)
        network.graph.erase_node(node)
        for after in list(shortcut.users):
            if (
                _is_relu(after, modules)
                and after.all_input_nodes == [shortcut]
                and _is_rectified(shortcut, modules)
            ):
                after.replace_all_uses_with(shortcut)
                network.graph.erase_node(after)
    network.graph.eliminate_dead_code()
    network.delete_all_unused_submodules()
    network.recompile()


def _is_relu(node: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    if node.op == "call_module":
        return type(modules.get(str(node.target))) is nn.ReLU
    return (node.op == "call_function" and node.target in _RELUS) or (
        node.op == "call_method" and node.target in ("relu", "relu_")
    )


def _is_rectified(node: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    """Whether a value has no negative number, as far as the last operations before it show."""
    module = modules.get(str(node.target)) if node.op == "call_module" else None
    if isinstance(module, PaddedShortcut | nn.Identity | nn.MaxPool2d) and len(node.all_input_nodes) == 1:
        return _is_rectified(node.all_input_nodes[0], modules)
    return isinstance(module, NormReLU) or _is_relu(node, modules)
