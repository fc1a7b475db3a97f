"""Which operations of an ONNX graph compute with integers: products of named layers, and what joins them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

from szilard.errors import SzilardError, shortened

_PRODUCTS = ("Conv", "Gemm", "MatMul")
#: Operations whose result is an integer if their first input is: they only choose, order or bound values.
_OF_ONE = (
    "Relu",
    "Clip",
    "MaxPool",
    "Slice",
    "Pad",
    "Flatten",
    "Reshape",
    "Transpose",
    "Squeeze",
    "Unsqueeze",
)
_OF_ALL = ("Add", "Concat")
_WEIGHTS = ("weight", "mean")  # a point network stores weights, one with moments their means


def products(model: Any) -> list[Any]:
    """The products and convolutions with a stored weight, in order; all nodes of the graph get a name."""
    stored = {one.name for one in model.graph.initializer if len(one.dims) > 1}
    found = []
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"node{number}"
        if node.op_type in _PRODUCTS and node.input[1] in stored:
            found.append(node)
    return found


def products_of(model: Any, layers: Collection[str]) -> list[Any]:
    """The products of some layers.

    The weight of a layer ``a`` is stored as ``network.a.weight``. A linear layer of several positions is a product with
    a transposed weight that has lost its name; the addition of ``network.a.bias`` behind it tells whose it is.

    Args:
        model: an ONNX model that ``compile`` made.
        layers: names in the network.

    Raises:
        SzilardError: a layer without a product.
    """
    by_layer = products_by_layer(model)
    for name in layers:
        if name not in by_layer:
            known = shortened(", ".join(sorted(by_layer)) or "none", 200)
            raise SzilardError(
                f"the compiled network has no product with the weight of a layer {name!r}; its layers are {known}"
            )
    chosen = {node.name for name in layers for node in by_layer[name]}
    return [node for node in products(model) if node.name in chosen]


def products_by_layer(model: Any) -> dict[str, list[Any]]:
    """The products of every layer that can be told by its name; see :func:`products_of`."""
    bias_after = {
        value: other
        for node in model.graph.node
        if node.op_type == "Add"
        for value, other in (tuple(node.input), tuple(node.input)[::-1])
    }
    by_layer: dict[str, list[Any]] = defaultdict(list)
    for node in products(model):
        names = (node.input[1], bias_after.get(node.output[0], "") if node.op_type == "MatMul" else "")
        for layer in {_layer_of(name) for name in names} - {None}:
            by_layer[str(layer)].append(node)
    return dict(by_layer)


def joining(model: Any, chosen: Sequence[Any]) -> list[Any]:
    """The operations between integer products that can stay integers, so that no value becomes a float between them.

    Those are activations right behind an integer product, which then become part of its rounding, and operations all of
    whose inputs are integers and whose result reaches an integer product. The output of the last product and what is
    computed of it stay in float32.

    Args:
        model: an ONNX model with names of all nodes.
        chosen: its integer products.
    """
    stored = {one.name for one in model.graph.initializer}
    integers = {node.output[0] for node in chosen}
    after_product = set(integers)
    candidates = []
    for node in model.graph.node:  # in the order of computation
        given = [name for name in node.input if name and name not in stored]
        one, all_of_them = node.op_type in _OF_ONE, node.op_type in _OF_ALL and len(given) == len(node.input)
        if (one and node.input[0] in integers) or (all_of_them and integers.issuperset(given)):
            candidates.append(node)
            integers.add(node.output[0])
    wanted = {node.input[0] for node in chosen}
    found = []
    for node in reversed(candidates):
        merges = node.op_type in ("Relu", "Clip") and node.input[0] in after_product
        if merges or node.output[0] in wanted:
            found.append(node)
            wanted.update(node.input)
    return found[::-1]


def _layer_of(name: str) -> str | None:
    """The layer whose tensor has this name in a compiled file."""
    layer, _, last = name.removeprefix("network.").rpartition(".")
    return layer if name.startswith("network.") and last in (*_WEIGHTS, "bias") else None
