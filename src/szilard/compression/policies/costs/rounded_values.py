"""How many values a network brings from floats to integers and back, from the ONNX graph of the original."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from math import prod
from typing import Any

from szilard.deploy.int8_nodes import joining, products_by_layer
from szilard.errors import SzilardError, first_line


class RoundedValues:
    """Values between an operation in floats and one in integers, where a runtime rounds them or turns them back.

    A residual sum of an integer and a float is one of floats, so that the layers alone do not tell.

    Args:
        content: of an ONNX file of the original network, for one input and in float32.
    """

    def __init__(self, content: bytes) -> None:
        import onnx

        self._model = onnx.load_model_from_string(content)
        graph = self._model.graph
        self._products = products_by_layer(self._model)  # gives all nodes names
        layer_of = {node.name: name for name, nodes in self._products.items() for node in nodes}
        stored = {one.name for one in graph.initializer}
        self._source: dict[str, str | None] = {
            one.name: None for one in graph.input
        }  # the layer that made a value
        self._readers: dict[str, list[str]] = defaultdict(list)
        for node in graph.node:
            given = [name for name in node.input if name and name not in stored]
            for name in given:
                self._readers[name].append(node.name)
            source = layer_of.get(node.name, next((self._source.get(name) for name in given), None))
            self._source |= dict.fromkeys(node.output, source)
        self._sizes = _sizes(self._model)
        self._known: dict[frozenset[str], dict[str | None, int]] = {}

    def count(self, integers: frozenset[str], shares: Mapping[str, float]) -> float:
        """Number of these values.

        Args:
            integers: names of the layers that compute with integers.
            shares: of the output channels of each layer that are left.
        """
        if not integers:
            return 0.0
        found = self._known.get(integers)
        if found is None:
            found = self._known[integers] = self._by_source(integers)
        return sum(size * (1.0 if name is None else shares.get(name, 1.0)) for name, size in found.items())

    def _by_source(self, integers: frozenset[str]) -> dict[str | None, int]:
        """The number of values by the layer that made them, in the original network."""
        chosen = [node for name in self._products if name in integers for node in self._products[name]]
        whole = {node.name for node in (*chosen, *joining(self._model, chosen))}
        maker = {name: node.name for node in self._model.graph.node for name in node.output}
        found: dict[str | None, int] = defaultdict(int)
        for name, source in self._source.items():
            readers = {reader in whole for reader in self._readers.get(name, ())}
            if (
                maker.get(name) not in whole
            ) in readers:  # one of floats is read by integers, or the other way
                found[source] += self._sizes.get(name, 0)
        return dict(found)


def _sizes(model: Any) -> dict[str, int]:
    """The number of values of every tensor of one input."""
    import onnx

    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except Exception as error:
        raise SzilardError(f"the shapes of the ONNX file are not consistent: {first_line(error)}") from error
    values = (*graph.input, *graph.value_info, *graph.output)
    return {one.name: prod(max(dim.dim_value, 1) for dim in one.type.tensor_type.shape.dim) for one in values}
