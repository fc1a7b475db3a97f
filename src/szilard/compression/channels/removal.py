"""Networks without some of their channels: smaller ones, and of the same shapes with zeros."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from szilard.compression.channels.branches import Branch, end_branches, silence_end
from szilard.compression.channels.cutting import cut, silence
from szilard.compression.channels.functional_dropout import following
from szilard.compression.channels.rewriting import Layout, Layouts, rewrite
from szilard.compression.probe import Probe
from szilard.errors import SzilardError, printable
from szilard.networks import copied

Units = tuple[int, ...]


@dataclass(frozen=True)
class Cut:
    """Units of one module: ``inputs`` and ``outputs`` hold the unit of each, or -1 if it has none.

    They are None if no input or output can go.
    """

    inputs: Units | None
    outputs: Units | None


@dataclass(frozen=True)
class Held:
    """Units of one tensor: its shape, the axis of its channels, and the unit of each, or -1."""

    shape: tuple[int, ...]
    axis: int
    units: Units

    def layout(self, gone: set[int]) -> Layout:
        """Which channels stay if some units are gone."""
        return Layout(self.shape, self.axis, tuple(unit not in gone for unit in self.units))


@dataclass(frozen=True, eq=False)
class Plan:
    """Where the units are in the graph of a network.

    Attributes:
        graph: of the network.
        args: of each node, with numbers in place of nodes that return numbers.
        held: units of what each node returns.
        branches: by the units of a pool that can lose all of them, the branch that ends then.
    """

    graph: fx.Graph
    args: Mapping[fx.Node, tuple[Any, ...]]
    held: Mapping[fx.Node, Any]
    branches: Mapping[frozenset[int], Branch] = field(default_factory=dict)

    def ended(self, gone: set[int]) -> dict[frozenset[int], Branch]:
        """The branches without channels."""
        return {units: branch for units, branch in self.branches.items() if units <= gone}

    def smaller(self, network: nn.Module, cuts: Mapping[str, Cut], gone: set[int]) -> nn.Module:
        """A copy of the network without some units, in eval mode."""
        ended = self.ended(gone)
        empty = frozenset().union(*ended)
        network = copied(network).eval()
        modules = dict(network.named_modules(remove_duplicate=False))
        for name, one in cuts.items():
            # Layers of a branch that ends are not cut: they leave the graph.
            inputs, outputs = stays(one, gone - empty, modules, name)
            if not (inputs is None or bool(inputs.all())) or not (outputs is None or bool(outputs.all())):
                cut(modules[name], inputs, outputs)
        graph, new = fx.Graph(), dict[fx.Node, fx.Node]()
        dropout = following(network, self.graph)
        for node in self.graph.nodes:
            made = new[node] = graph.node_copy(node, lambda old: new[old])
            made.meta.clear()
            if node.name in dropout:
                name = _free(f"{node.name}_module", modules)
                network.add_module(name, dropout[node.name].eval())
                modules[name] = dropout[node.name]
                made.op, made.target = "call_module", name
                made.args, made.kwargs = made.args[:1] or (made.kwargs["input"],), {}
                continue
            given = _layouts(self.held.get(_first(node)), gone - empty)  # type: ignore[arg-type]
            result = _layouts(self.held.get(node), gone - empty)
            if _changes(given) or _changes(result):
                module = modules[str(node.target)] if node.op == "call_module" else None
                rewrite(made, module, self.args.get(node, ()), given, result)
        graph.lint()
        small = fx.GraphModule(network, graph)
        end_branches(small, ended.values(), {old.name: node for old, node in new.items()})
        return small.eval()  # modules that only hold others are new

    def changes_constants(self, network: nn.Module, gone: set[int]) -> bool:
        """Whether the forward of the network itself would need other constants without some units."""
        modules = dict(network.named_modules(remove_duplicate=False))
        graph, new = fx.Graph(), dict[fx.Node, fx.Node]()
        for node in self.graph.nodes:
            made = new[node] = graph.node_copy(node, lambda old: new[old])
            before = made.op, made.target, str(made.args), str(made.kwargs)
            given = _layouts(self.held.get(_first(node)), gone)  # type: ignore[arg-type]
            result = _layouts(self.held.get(node), gone)
            if isinstance(modules.get(str(node.target)), nn.Unflatten) and _changes(result):
                return True
            if _changes(given) or _changes(result):
                rewrite(made, None, self.args.get(node, ()), given, result)
            if (made.op, made.target, str(made.args), str(made.kwargs)) != before:
                return True
        return False


@torch.no_grad()
def without(
    network: nn.Module,
    cuts: Mapping[str, Cut],
    gone: set[int],
    ended: Mapping[frozenset[int], Branch] | None = None,
) -> nn.Module:
    """A copy of the network in eval mode, of the same shapes, with zeros in place of some units.

    Args:
        network: to copy.
        cuts: units of its modules.
        gone: the units that become zero.
        ended: branches of which no unit stays; they add zeros.
    """
    network, ended = copied(network).eval(), ended or {}
    modules = dict(network.named_modules(remove_duplicate=False))
    empty = frozenset().union(*ended)
    for name, one in cuts.items():
        silence(modules[name], *stays(one, gone, modules, name, empty))
    for branch in ended.values():
        silence_end(branch, modules)
    return network


def agree(network: nn.Module, other: nn.Module, inputs: Tensor) -> bool:
    """Whether two networks in eval mode have the same outputs up to rounding; False if they cannot be compared."""

    def outputs(net: nn.Module, x: Tensor) -> Any:
        # The call of a graph module prints errors to stderr.
        return net.forward(x.clone()) if isinstance(net, fx.GraphModule) else net(x.clone())

    probe = Probe(network, [inputs], outputs)
    return bool(probe.inputs) and probe.agrees(other)


def stays(
    one: Cut,
    gone: set[int],
    modules: Mapping[str, nn.Module],
    name: str,
    empty: frozenset[int] = frozenset(),
) -> tuple[Tensor | None, Tensor | None]:
    """Which inputs and outputs of a module stay, bool; None where none can go.

    Args:
        one: units of the module.
        gone: units that leave.
        modules: of the network, by name.
        name: of the module.
        empty: units that may leave a module without channels.

    Raises:
        SzilardError: no channel would stay.
    """
    found = []
    for units in (one.inputs, one.outputs):
        there = None if units is None else torch.tensor([unit not in gone for unit in units])
        if there is not None:
            there = there.to(next(iter(modules[name].parameters()), there).device)
            if not bool(there.any()) and not empty.issuperset(units or ()):
                raise SzilardError(
                    f"no channel of {printable(name)} would stay; keep at least one unit of one of its pools"
                )
        found.append(there)
    return found[0], found[1]


def _first(node: fx.Node) -> fx.Node | None:
    first = node.args[0] if node.args else node.kwargs.get("input")
    return first if isinstance(first, fx.Node) else None


def _layouts(held: Any, gone: set[int]) -> Layouts:
    if isinstance(held, Held):
        return held.layout(gone)
    return [_layouts(one, gone) for one in held] if isinstance(held, list) else None


def _changes(layouts: Layouts) -> bool:
    if isinstance(layouts, Layout):
        return not all(layouts.stays)
    return isinstance(layouts, list) and any(map(_changes, layouts))


def _free(name: str, taken: Mapping[str, object]) -> str:
    while name in taken:
        name += "_"
    return name
