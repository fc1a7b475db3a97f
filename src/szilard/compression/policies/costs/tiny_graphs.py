"""Tiny ONNX files that show what one layer costs between its neighbours: with the layer, and without it.

ONNX Runtime keeps the channels of images in blocks (float32) or as the last dimension (integers). A convolution alone
pays for bringing its input into that layout and its output back, which it does not inside a network. So it is
measured behind a cheap convolution of one channel that makes its input, and before a mean over positions that needs no
layout; what those two cost without it is subtracted.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from szilard.compression.policies.costs.rows import Row

_OPSET, _IR = 19, 9  # of 2023; old enough for every runtime that the package accepts
_SCALE, _ZERO = np.float32(0.05), np.uint8(128)
_WEIGHTS = 63  # largest integer of a weight of 7 bits


class _Graph:
    """Nodes and tensors of a graph that is written from its input to its output."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []
        self.last, self.shape = "x", shape
        self.random = np.random.default_rng(0)

    def add(self, kind: str, *others: str, **attributes: Any) -> None:
        """Apply an operation to the last value."""
        import onnx

        name = f"{kind}{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(kind, [self.last, *others], [name], name=name, **attributes))
        self.last = name

    def tensor(self, value: np.ndarray | np.generic) -> str:
        """Store a tensor; its name."""
        import onnx

        name = f"t{len(self.tensors)}"
        self.tensors.append(onnx.numpy_helper.from_array(np.asarray(value), name))
        return name

    def rounded(self) -> None:
        """Round the last value to 8-bit integers."""
        steps = self.tensor(_SCALE), self.tensor(_ZERO)
        self.add("QuantizeLinear", *steps)
        self.add("DequantizeLinear", *steps)

    def weight(self, shape: tuple[int, ...], bits: int) -> tuple[str, str]:
        """A random weight and its bias, as integers with steps for each output channel, or float32."""
        import onnx

        if bits != 8:
            drawn = self.random.standard_normal(shape, dtype=np.float32) * np.float32(0.05)
            return self.tensor(drawn), self.tensor(np.zeros(shape[0], np.float32))
        steps = np.full(shape[0], 0.01, np.float32)
        integers = self.random.integers(-_WEIGHTS, _WEIGHTS + 1, shape).astype(np.int8)
        names: list[str] = []
        values: np.ndarray
        for values, step in ((integers, steps), (np.zeros(shape[0], np.int32), steps * _SCALE)):
            parts = [self.tensor(values), self.tensor(step), self.tensor(np.zeros(shape[0], values.dtype))]
            names.append(f"w{len(self.nodes)}")
            self.nodes.append(
                onnx.helper.make_node("DequantizeLinear", parts, names[-1:], name=names[-1], axis=0)
            )
        return names[0], names[1]

    def layer(self, row: Row) -> None:
        """Apply a layer to the last value."""
        if row.kind == "linear":
            self._linear(row)
        else:
            weight = self.weight((row.outputs, row.inputs // row.groups, *row.kernel), row.bits)
            self.add(
                "Conv", *weight, kernel_shape=row.kernel, strides=row.stride, dilations=row.dilation,
                pads=row.pads, group=row.groups,
            )  # fmt: skip
        if row.bits == 8:
            self.rounded()

    def _linear(self, row: Row) -> None:
        """A product as PyTorch's exporter writes it."""
        import onnx

        weight, bias = self.weight((row.outputs, row.inputs), row.bits)
        if not row.positions:
            self.add("Gemm", weight, bias, transB=1)
            return
        if row.bits == 8:  # the runtime wants the integers themselves in the order of the product
            stored = next(one for node in self.nodes if node.output[0] == weight for one in node.input[:1])
            tensor = next(one for one in self.tensors if one.name == stored)
            node = next(node for node in self.nodes if node.output[0] == weight)
            next(one for one in node.attribute if one.name == "axis").i = 1
        else:
            tensor = next(one for one in self.tensors if one.name == weight)
        turned = np.ascontiguousarray(onnx.numpy_helper.to_array(tensor).T)
        tensor.CopyFrom(onnx.numpy_helper.from_array(turned, tensor.name))
        self.add("MatMul", weight)
        self.add("Add", bias)

    def content(self) -> bytes:
        """The bytes of the file."""
        import onnx

        kind = onnx.TensorProto.FLOAT
        graph = onnx.helper.make_graph(
            self.nodes, "row", [onnx.helper.make_tensor_value_info("x", kind, list(self.shape))],
            [onnx.helper.make_tensor_value_info(self.last, kind, [None] * len(self.shape))], self.tensors,
        )  # fmt: skip
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", _OPSET)])
        model.ir_version = _IR
        content: bytes = model.SerializeToString()
        return content


def input_shape(row: Row) -> tuple[int, ...]:
    """Shape of the input of both files of a row."""
    if row.kind == "linear":
        return (1, *row.positions, row.inputs)
    return (1, row.inputs if row.first else 1, *row.positions)


def with_layer(row: Row) -> bytes:
    """The file with the layer."""
    graph = _before(row)
    graph.layer(row)
    return _behind(graph, row)


def without_layer(row: Row) -> bytes:
    """The same file without the layer."""
    return _behind(_before(row), row)


def base_key(row: Row) -> str:
    """A text that names the file without the layer, which many rows share."""
    where = "x".join(map(str, input_shape(row)))
    return f"without layer {row.kind} {row.inputs} of {where} {row.bits} bits"


def _before(row: Row) -> _Graph:
    graph = _Graph(input_shape(row))
    if row.bits == 8:
        graph.rounded()
    elif row.kind == "linear":
        graph.add("Relu")
    if row.kind == "conv" and not row.first:
        d = len(row.positions)
        ones, zeros = (1,) * d, (0,) * (2 * d)
        graph.layer(Row("conv", 1, row.inputs, ones, ones, ones, zeros, 1, row.positions, row.bits))
    return graph


def _behind(graph: _Graph, row: Row) -> bytes:
    if row.kind == "conv":
        graph.add("GlobalAveragePool")
        if row.bits == 8:
            graph.rounded()
    return graph.content()
