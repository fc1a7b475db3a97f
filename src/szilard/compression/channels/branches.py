"""Branches that a sum adds to a shortcut: without channels they add a constant, and none of their layers runs."""

from __future__ import annotations

import operator
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from szilard.networks.norm import NormReLU

_SUMS = (operator.add, operator.iadd, torch.add)
_SUM_METHODS = ("add", "add_")


class Shift(nn.Module):
    """What a branch without channels does: ``x + bias``, rectified if its sum was.

    Args:
        bias: of each channel ``[C]``.
        axes: of ``x``; channels are along axis 1, or along the last one if there are two.
        rectified: whether a ReLU is part of it.
        mean: what the branch added in the mean, ``[C]``, if a BatchNorm was its end; None: not known.

    Shapes: ``[B, C, ...] -> [B, C, ...]``.
    """

    def __init__(self, bias: Tensor, axes: int, rectified: bool, mean: Tensor | None = None) -> None:
        super().__init__()
        self.bias = nn.Parameter(bias)
        self.axes, self.rectified, self.mean = axes, rectified, mean

    def forward(self, x: Tensor) -> Tensor:
        y = x + self.bias.view(-1, *[1] * (self.axes - 2))
        return F.relu(y) if self.rectified else y


@dataclass(frozen=True)
class Branch:
    """The end of a branch.

    Attributes:
        reader: the last layer of the branch, which reads only the channels of one pool.
        norm: the BatchNorm after it; empty if there is none.
        add: name of the node in the graph that adds the shortcut; the norm's own if it is a NormReLU.
        axes: of the sum.
    """

    reader: str
    norm: str
    add: str
    axes: int


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
            return Branch(reader, norm, after.name, _axes(values[after])) if fits else None
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
    return Branch(reader, norm, after.name, _axes(values[after])) if same else None


def _shortcut(node: fx.Node) -> fx.Node | None:
    given = node.args[1] if len(node.args) > 1 else node.kwargs.get("shortcut")
    return given if isinstance(given, fx.Node) else None


def _shape(value: object) -> tuple[int, ...] | None:
    return tuple(value.shape) if isinstance(value, Tensor) else None


def _axes(value: object) -> int:
    return value.dim() if isinstance(value, Tensor) else 0


@torch.no_grad()
def end_branches(network: fx.GraphModule, empty: Collection[Branch], nodes: Mapping[str, fx.Node]) -> None:
    """Replace branches whose layers have no channels by the constants that they add; in place.

    Their layers, and those before them that nothing else reads, leave the network.

    Args:
        network: whose graph is changed.
        empty: branches without channels.
        nodes: of the graph, by their names when the branches were found.
    """
    if not empty:
        return
    for branch in empty:
        node = nodes[branch.add]
        reader = network.get_submodule(branch.reader)
        assert isinstance(reader, nn.Linear | nn.modules.conv._ConvNd)
        bias = torch.zeros(len(reader.weight)) if reader.bias is None else reader.bias.detach()
        rectified, mean = False, None
        if branch.norm:
            norm = network.get_submodule(branch.norm)
            assert isinstance(norm, _BatchNorm)
            bias, rectified = _normalised(bias, norm), isinstance(norm, NormReLU)
            mean = bias.new_zeros(len(bias)) if norm.bias is None else norm.bias.detach().clone()
        made = branch.reader if rectified else branch.norm or branch.reader  # the last module before the sum
        other = next(one for one in node.all_input_nodes if str(one.target) != made)
        network.set_submodule(made, Shift(bias.clone(), branch.axes, rectified, mean).train(network.training))
        with network.graph.inserting_before(node):
            new = network.graph.call_module(made, (other,))
        node.replace_all_uses_with(new)
        network.graph.erase_node(node)
    network.graph.eliminate_dead_code()
    network.delete_all_unused_submodules()
    network.recompile()


def _normalised(bias: Tensor, norm: _BatchNorm) -> Tensor:
    """A constant behind a BatchNorm in eval mode."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    value = (bias - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
    return value if norm.weight is None else value * norm.weight + norm.bias
