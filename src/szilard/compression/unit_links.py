"""Layers whose output only one other layer reads, and the elementwise modules between the two."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import fx, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from szilard.bayes.fuse import AppliedReLU
from szilard.compression.graph import NORMS, POOLS, Graph, Run
from szilard.networks import is_itself

# Modules between two layers that act on every number separately.
_BY_NUMBER = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Hardswish, nn.Identity,
    nn.Dropout, nn.Dropout2d, AppliedReLU,
)  # fmt: skip
_RECTIFIERS = (F.relu, torch.relu, torch.relu_, F.relu_)

Layer = nn.Linear | nn.Conv1d | nn.Conv2d
_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d)
#: Axes of a layer's output.
_AXES: dict[type, int] = {nn.Linear: 2, nn.Conv1d: 3, nn.Conv2d: 4}


@dataclass(frozen=True, eq=False)
class Link:
    """A layer (``source``), the only layer that reads it (``reader``), and the modules between them.

    Attributes:
        name: of the source.
        between: modules that act on each unit separately.
        spread: columns of the reader for each unit: the number of flattened pixels.
        unsure: name of a BatchNorm that might not normalise the units, or None.
    """

    name: str
    source: Layer
    between: list[nn.Module]
    reader: Layer
    spread: int
    unsure: str | None = None


@dataclass(eq=False)
class _Path:
    """The path from a layer to its reader."""

    source: Layer
    dims: set[int]
    between: list[nn.Module] = field(default_factory=list)
    flat: bool = False
    unsure: str | None = None

    def take(self, module: nn.Module | None, name: str, alone: bool) -> bool:
        """Add a module to the path; False if it does not act on each unit separately."""
        conv, units = not isinstance(self.source, nn.Linear), len(self.source.weight)
        axes = _AXES[type(self.source)]
        if module is None:
            return False
        if is_itself(module, (nn.Flatten,)):
            fits = (module.start_dim, module.end_dim) == (1, -1) and self.dims == {axes}
            self.flat = True
            return fits
        if is_itself(module, tuple(POOLS)):
            # With another number of axes a pool takes the batch for channels, and channels for positions.
            fits = (
                axes == POOLS[type(module)] and not self.flat and not getattr(module, "return_indices", False)
            )
        elif isinstance(module, _BatchNorm):
            kept = module.running_mean is not None and module.running_var is not None
            fits = is_itself(module, NORMS) and alone and kept and module.num_features == units
            if not conv and self.dims != {2}:
                fits = fits and 2 in self.dims
                self.unsure = name
        else:
            fits = is_itself(module, _BY_NUMBER)
        self.between.append(module)
        return fits

    def spread(self, reader: nn.Module | None) -> int:
        """Columns of the reader that belong to one unit; 0 if the shapes do not fit."""
        conv, units = not isinstance(self.source, nn.Linear), len(self.source.weight)
        if isinstance(reader, nn.Conv1d | nn.Conv2d):
            return 1 if type(reader) is type(self.source) and not self.flat and reader.groups == 1 else 0
        if not isinstance(reader, nn.Linear) or (conv and not self.flat):
            return 0
        whole = reader.in_features % units == 0 and (conv or reader.in_features == units)
        return reader.in_features // units if whole else 0


def links(graph: Graph, run: Run) -> Iterator[Link]:
    """All links of a network, in the order in which their sources are called."""

    def alone(module: nn.Module) -> bool:
        return graph.is_single(module) and run.calls[id(module)] == 1

    for node in graph.nodes:
        source = graph.module(node)
        if not isinstance(source, Layer) or not is_itself(source, _LAYERS) or not alone(source):
            continue
        dims = run.dims.get(id(source), set())
        if not isinstance(source, nn.Linear) and (source.groups > 1 or dims != {_AXES[type(source)]}):
            continue
        path, place = _Path(source, dims), node
        while len(place.users) == 1:
            before, place = place, next(iter(place.users))
            if place.all_input_nodes != [before] or (place.op == "call_module" and place.args != (before,)):
                break
            reader = graph.module(place)
            if isinstance(reader, Layer):
                if is_itself(reader, _LAYERS) and alone(reader) and (spread := path.spread(reader)):
                    yield Link(str(node.target), source, path.between, reader, spread, path.unsure)
                break
            module = reader if reader is not None else _as_module(place)
            if not path.take(module, str(place.target), reader is not None and alone(reader)):
                break


def _as_module(node: fx.Node) -> nn.Module | None:
    """The module that is equivalent to a function in the graph, or None."""
    if node.op == "call_method":
        name = str(node.target)
        rectifies, flattens = name in ("relu", "relu_"), name == "flatten"
    else:
        rectifies, flattens = node.target in _RECTIFIERS, node.target is torch.flatten
    if rectifies and node.op != "get_attr":
        return nn.ReLU()
    if flattens and (*node.args[1:], *node.kwargs.values()) == (1,) and "end_dim" not in node.kwargs:
        return nn.Flatten()
    return None
