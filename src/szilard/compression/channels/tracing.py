"""The graph of a network, whose nodes are modules with a known behaviour and functions of torch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from szilard.bayes import BayesLayer, Drawn
from szilard.bayes.batch_innermost import (
    InnermostMaxPool,
    InnermostNorm,
    InnermostNormReLU,
    InnermostShortcut,
)
from szilard.bayes.fuse import AppliedReLU
from szilard.bayes.groups import ScaledLayer
from szilard.compression.graph import shared
from szilard.compression.probe import distance, numbers, tolerance
from szilard.networks.norm import NormReLU
from szilard.networks.resnet import PaddedShortcut

#: Modules of this library with a known forward.
OWN = (
    NormReLU, PaddedShortcut, AppliedReLU, InnermostNorm, InnermostNormReLU, InnermostMaxPool, InnermostShortcut,
    BayesLayer, Drawn, ScaledLayer,
)  # fmt: skip


class Tracer(fx.Tracer):
    """Leaves are torch's own modules and those of this library; users' modules are traced into.

    Args:
        closed: users' modules without children are leaves, too.
    """

    def __init__(self, closed: bool = False) -> None:
        super().__init__()
        self.closed = closed

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return (
            isinstance(m, OWN)
            or (self.closed and not any(m.children()))
            or super().is_leaf_module(m, module_qualified_name)
        )


@dataclass(eq=False)
class Traced:
    """A traced network and its run on a few inputs.

    Attributes:
        graph: of the network in eval mode.
        modules: by name.
        values: what each node returned.
        calls: number of calls of each module, by its id.
        shared: ids of tensors that are in several places, or that functions of the graph read.
    """

    graph: fx.Graph
    modules: dict[str, nn.Module]
    values: dict[fx.Node, Any] = field(default_factory=dict)
    calls: Counter[int] = field(default_factory=Counter)
    shared: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, network: nn.Module, inputs: Tensor) -> Traced:
        """Trace a network in eval mode, and run it.

        Args:
            network: in eval mode; it is not changed.
            inputs: a few, ``[B, ...]``.

        Raises:
            Exception: of any kind, if the forward has no static graph, or not that of the network.
        """
        try:
            graph = Tracer(closed=False).trace(network)
        except Exception:  # of a user's module that has no graph: it stays a module
            graph = Tracer(closed=True).trace(network)
        traced = cls(graph, dict(network.named_modules(remove_duplicate=False)), shared=shared(network))
        wanted = network(inputs)
        got = _Recorder(fx.GraphModule(network, graph), traced.values).run(inputs)
        if not distance(numbers(got), numbers(wanted)) <= tolerance(network, numbers(wanted)):
            raise ValueError("its outputs are random, or depend on what a graph does not hold")
        for node in graph.nodes:
            if node.op == "call_module":
                traced.calls[id(traced.modules[str(node.target)])] += 1
            elif node.op == "get_attr":
                path, _, leaf = str(node.target).rpartition(".")
                traced.shared.add(id(getattr(traced.modules.get(path), leaf, None)))
        return traced

    def module(self, node: fx.Node) -> nn.Module | None:
        """The module that a node calls, or None."""
        return self.modules[str(node.target)] if node.op == "call_module" else None

    def is_alone(self, module: nn.Module) -> bool:
        """Whether a module is called once, and its tensors are nowhere else."""
        tensors = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        return self.calls[id(module)] == 1 and not any(id(tensor) in self.shared for tensor in tensors)


class _Recorder(fx.Interpreter):
    """Runs a graph and keeps what each node returns."""

    def __init__(self, module: fx.GraphModule, values: dict[fx.Node, Any]) -> None:
        super().__init__(module)
        self.values = values

    @torch.no_grad()
    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        self.values[n] = value.clone() if isinstance(value, Tensor) else value
        return value
