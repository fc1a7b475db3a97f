"""One call in the graph of a network, as the rules for channels see it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, fx, nn

from szilard.compression.channels.marks import Marks, fixed_marks
from szilard.compression.channels.names import name_of
from szilard.compression.channels.ties import Ties
from szilard.compression.channels.tracing import Traced
from szilard.errors import printable

Found = Marks | list[Any] | None
"""Marks of what a call returns: of a tensor, of each entry of a tuple, or None for what has no tensor."""


@dataclass(frozen=True)
class Place:
    """Channels of one module, as numbers in :class:`Ties`.

    Attributes:
        inputs: the channel of each input (of a linear layer: feature), or None if no input can go.
        outputs: the channel of each output, or None.
    """

    inputs: tuple[int, ...] | None
    outputs: tuple[int, ...] | None


@dataclass(eq=False)
class Walk:
    """The state of a walk through a graph.

    Attributes:
        traced: the network.
        ties: of all channels.
        found: marks of each node.
        places: where channels are in the modules, by the name of the module.
        made: output channels of each layer, by its name.
        complete: channels of each module after which they are complete: the layer, or the norm after it.
    """

    traced: Traced
    ties: Ties = field(default_factory=Ties)
    found: dict[fx.Node, Found] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    made: dict[str, tuple[int, ...]] = field(default_factory=dict)
    complete: dict[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Call:
    """A node of the graph.

    Attributes:
        node: it calls a module, a function or a method.
        walk: what is known of the nodes before it.
    """

    node: fx.Node
    walk: Walk

    @property
    def name(self) -> str:
        """The name of the module, function or method that is called, for a sentence."""
        return printable(name_of(self.node), 80)

    @property
    def module(self) -> nn.Module:
        """The module that is called."""
        module = self.walk.traced.module(self.node)
        assert module is not None
        return module

    @property
    def value(self) -> Any:
        """What the call returned."""
        return self.walk.traced.values[self.node]

    def real(self, argument: Any) -> Any:
        """An argument with nodes replaced by what they returned."""
        return fx.map_arg(argument, lambda node: self.walk.traced.values[node])

    def arg(self, place: int, name: str, default: Any = None) -> Any:
        """An argument of the call, as it is in the graph."""
        return self.node.args[place] if place < len(self.node.args) else self.node.kwargs.get(name, default)

    def marks(self, argument: Any) -> Marks | None:
        """Marks of an argument that is a tensor, or None."""
        found = self.walk.found.get(argument) if isinstance(argument, fx.Node) else None
        return found if isinstance(found, Marks) else None

    def shape(self, argument: Any) -> tuple[int, ...]:
        """Shape of an argument that is a tensor."""
        return tuple(self.walk.traced.values[argument].shape)

    def unknown(self, reason: str | None = None) -> Found:
        """Fix all channels that reach the call; what it returns is fixed, too."""
        kind = f" ({type(self.module).__name__})" if self.node.op == "call_module" else ""
        reason = reason or f"its channels reach {self.name}{kind}, which may mix them"
        for node in self.node.all_input_nodes:
            self.fix(self.walk.found.get(node), reason)
        return self.fixed(self.value, reason)

    def fixed(self, value: Any, reason: str) -> Found:
        """Marks of a value whose channels all stay."""
        if isinstance(value, Tensor):
            return fixed_marks(tuple(value.shape), self.walk.ties, reason)
        if isinstance(value, dict):
            value = list(value.values())
        parts = [self.fixed(one, reason) for one in value] if isinstance(value, tuple | list) else []
        return parts if any(part is not None for part in parts) else None

    def fix(self, found: Found, reason: str) -> None:
        """Keep all channels of what a node returned."""
        for marks in each(found):
            self.walk.ties.fix(marks.channels, reason)


def each(found: Found) -> Iterator[Marks]:
    """All marks of what a node returned."""
    if isinstance(found, Marks):
        yield found
    elif isinstance(found, list):
        for one in found:
            yield from each(one)
