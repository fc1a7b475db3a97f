"""The traced graph of a network, the calls seen in a run of it, and tensors that share memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from szilard.bayes import BayesLayer, Drawn
from szilard.bayes.batch_innermost import InnermostMaxPool, InnermostNorm, InnermostNormReLU
from szilard.bayes.groups import ScaledLayer
from szilard.compression.probe import Forward
from szilard.networks.norm import NormReLU

# Classes with a known forward: torch's own, and those of this library that do the same and then a known operation.
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, InnermostNorm, NormReLU, InnermostNormReLU)
RECTIFIED = (NormReLU, InnermostNormReLU)  # norms that add a shortcut, and rectify
#: Pools of every channel by itself, which keep a constant, and the axes of what they take.
POOLS: dict[type, int] = {
    nn.MaxPool1d: 3, nn.AdaptiveAvgPool1d: 3, nn.AdaptiveMaxPool1d: 3,
    nn.MaxPool2d: 4, nn.AdaptiveAvgPool2d: 4, nn.AdaptiveMaxPool2d: 4, InnermostMaxPool: 4,
}  # fmt: skip


class Tracer(fx.Tracer):
    """Treats all modules without children, and Bayesian layers, as leaves."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return (
            not any(m.children())
            or isinstance(m, BayesLayer | ScaledLayer | Drawn)
            or super().is_leaf_module(m, module_qualified_name)
        )


@dataclass(eq=False)
class Graph:
    """The graph of a network that can be traced.

    Attributes:
        nodes: in the order of computation.
        modules: by name.
        calls: number of calls of each module, by its id.
        read: ids of the tensors that the network reads outside the layer that owns them.
    """

    nodes: list[fx.Node]
    modules: dict[str, nn.Module]
    calls: Counter[int]
    read: set[int]

    @classmethod
    def of(cls, network: nn.Module) -> Graph:
        """Trace a network.

        Raises:
            Exception: of any kind, if the forward has no static graph.
        """
        nodes = list(Tracer().trace(network).nodes)
        modules = dict(network.named_modules(remove_duplicate=False))
        calls: Counter[int] = Counter()
        read: set[int] = set()
        for node in nodes:
            if node.op == "call_module":
                calls[id(modules[str(node.target)])] += 1
            elif node.op == "get_attr":
                path, _, leaf = str(node.target).rpartition(".")
                read.add(id(getattr(modules.get(path), leaf, None)))
        return cls(nodes, modules, calls, read)

    def module(self, node: object) -> nn.Module | None:
        """The module that a node calls, or None."""
        if isinstance(node, fx.Node) and node.op == "call_module":
            return self.modules[str(node.target)]
        return None

    def is_single(self, module: nn.Module) -> bool:
        """Whether a module is called once, and its tensors are read nowhere else."""
        tensors = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        return self.calls[id(module)] == 1 and not any(id(tensor) in self.read for tensor in tensors)


@dataclass(eq=False)
class Run:
    """The calls of modules seen while a network ran.

    Attributes:
        calls: largest number of calls of each module for one batch, by its id.
        dims: numbers of dimensions of its outputs, by its id.
    """

    calls: Counter[int] = field(default_factory=Counter)
    dims: dict[int, set[int]] = field(default_factory=dict)

    @classmethod
    def of(cls, network: nn.Module, inputs: Sequence[Any], forward: Forward) -> Run:
        """Run a network on batches that it takes."""
        run = cls()
        now: Counter[int] = Counter()

        def see(module: nn.Module, given: object, output: object) -> None:
            now[id(module)] += 1
            if isinstance(output, Tensor):
                run.dims.setdefault(id(module), set()).add(output.dim())

        hooks = [module.register_forward_hook(see) for module in network.modules()]
        try:
            with torch.no_grad():
                for x in inputs:
                    now.clear()
                    forward(network, x)
                    run.calls |= now  # the maximum of both
        finally:
            for hook in hooks:
                hook.remove()
        return run


def shared(network: nn.Module) -> set[int]:
    """Ids of the parameters and buffers that occur in several places, or share memory with others."""
    places: Counter[int] = Counter()
    spans: list[tuple[int, int, int, int]] = []  # storage, first and last byte, id of the tensor
    for module in network.modules():
        for tensor in (*module._parameters.values(), *module._buffers.values()):
            if tensor is None:
                continue
            places[id(tensor)] += 1
            if places[id(tensor)] == 1 and tensor.layout is torch.strided and tensor.numel():
                size = tensor.element_size()
                start = int(tensor.storage_offset()) * size
                reach = sum(int((n - 1) * s) for n, s in zip(tensor.shape, tensor.stride(), strict=True))
                spans.append(
                    (tensor.untyped_storage().data_ptr(), start, start + (reach + 1) * size, id(tensor))
                )
    found = {key for key, count in places.items() if count > 1}
    holder = (-1, 0, 0, 0)  # of the earlier spans, the one with the largest end
    for span in sorted(spans):
        if holder[0] == span[0] and span[1] < holder[2]:
            found |= {holder[3], span[3]}
        if holder[0] != span[0] or span[2] > holder[2]:
            holder = span
    return found
