"""Integers in chosen layers of an ONNX file, with and without the operations between them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from szilard import SzilardError, deploy

onnx = pytest.importorskip("onnx")
reference = pytest.importorskip("onnx.reference")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.usefixtures("one_registry")


class Residual(nn.Module):
    """Three convolutions, of which the second is beside a shortcut, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.second, self.third = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 4, 1)
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        x = torch.relu(self.norm(self.first(x)))
        x = torch.relu(self.second(x) + x)
        return self.head(self.third(x).mean((2, 3)))


@pytest.fixture(scope="module")
def residual():
    torch.manual_seed(0)
    network, x = Residual(), torch.randn(40, 3, 6, 6)
    for _ in range(20):
        network(x)  # statistics of the BatchNorm
    return deploy.compile(network.eval(), x[:2], backend="onnx"), x


def model_of(compiled):
    return onnx.load_model_from_string(compiled.run.content)


def integer_weights(compiled):
    """Names of the weights that are stored as 8-bit integers."""
    return {
        one.name.removeprefix("network.").removesuffix(".weight_quantized")
        for one in model_of(compiled).graph.initializer
        if one.data_type == onnx.TensorProto.INT8 and len(one.dims) > 1
    }


def test_only_the_named_layers_become_integers(residual):
    original, x = residual
    found, effects = deploy.quantise(original, x, layers=["second", "head"])
    assert integer_weights(found) == {"second", "head"}
    assert "2 products in integers" in found.metadata["quantisation"]
    assert 0 < effects.difference < 0.05
    only, _ = deploy.quantise(original, x, layers=["first"])
    assert integer_weights(only) == {"first"}  # its BatchNorm is folded into it


def test_all_layers_is_the_default(residual):
    original, x = residual
    names = ["first", "second", "third", "head"]
    default, named = deploy.quantise(original, x)[0], deploy.quantise(original, x, layers=names)[0]
    assert named.run.content == default.run.content
    assert "Add" not in {node.op_type for node in joined_nodes(default)}


def joined_nodes(compiled):
    """Activations and additions that are given integers and whose result is rounded to integers."""
    nodes = model_of(compiled).graph.node
    made = {name: node.op_type for node in nodes for name in node.output}
    rounded = {node.input[0] for node in nodes if node.op_type == "QuantizeLinear"}
    return [
        node
        for node in nodes
        if node.op_type in ("Relu", "Add", "MaxPool")
        and all(made.get(name) == "DequantizeLinear" for name in node.input)
        and node.output[0] in rounded
    ]


def test_joined_operations_stay_integers_up_to_the_last_product(residual):
    original, x = residual
    found, effects = deploy.quantise(original, x, joined=True)
    assert "Add" in {node.op_type for node in joined_nodes(found)}
    assert "3 operations between them in 8-bit integers" in found.metadata["quantisation"]
    relus = [node for node in model_of(found).graph.node if node.op_type == "Relu"]
    assert len(relus) < 2  # the first is part of the rounding of its product
    outputs = {one.name for one in model_of(found).graph.output}
    rounded = {node.input[0] for node in model_of(found).graph.node if node.op_type == "QuantizeLinear"}
    assert "answer" in outputs
    assert not outputs & rounded - {"mean"}
    assert 0 < effects.difference < 0.05


def test_a_sum_with_a_float_is_not_joined(residual):
    original, x = residual
    found, _ = deploy.quantise(
        original, x, layers=["second", "third"], joined=True
    )  # the shortcut is a float
    assert "Add" not in {node.op_type for node in joined_nodes(found)}
    last, _ = deploy.quantise(
        original, x, layers=["first", "second"], joined=True
    )  # nothing integer reads the sum
    assert "Add" not in {node.op_type for node in joined_nodes(last)}


@pytest.mark.parametrize("joined", [False, True])
def test_the_runtime_computes_what_the_file_says(residual, joined):
    """ONNX's own evaluator in NumPy rounds, multiplies in float and rounds again: the definition of the operators."""
    original, x = residual
    found, _ = deploy.quantise(original, x, layers=["first", "second", "third"], joined=joined)
    model = model_of(found)
    (wanted,) = reference.ReferenceEvaluator(model).run(["mean"], {"x": x[:8].numpy()})
    step = max(
        float(onnx.numpy_helper.to_array(one).max())
        for one in model.graph.initializer
        if one.name.endswith("_scale")
    )
    difference = np.abs(found(x[:8]).mean.numpy() - wanted).max()
    assert difference < 0.5 * step  # a value at the middle between two integers can go to either
    assert np.abs(wanted - original(x[:8]).mean.numpy()).max() > 10 * difference


def test_scales_fit_the_values(residual):
    original, x = residual
    found, _ = deploy.quantise(original, x, layers=["second"])
    stored = {one.name: onnx.numpy_helper.to_array(one) for one in model_of(found).graph.initializer}
    before = {one.name: onnx.numpy_helper.to_array(one) for one in model_of(original).graph.initializer}
    weight, scale = stored["network.second.weight_quantized"], stored["network.second.weight_scale"]
    assert scale.shape == (8,)
    assert (
        np.abs(weight * scale[:, None, None, None] - before["network.second.weight"]).max()
        <= 0.51 * scale.max()
    )
    assert np.abs(weight).max() in (63, 64)  # 7 bits by default
    wide, _ = deploy.quantise(original, x, layers=["second"], reduce_range=False)
    stored = {one.name: onnx.numpy_helper.to_array(one) for one in model_of(wide).graph.initializer}
    assert np.abs(stored["network.second.weight_quantized"]).max() in (127, 128)


def test_unknown_layers_are_refused(residual):
    original, x = residual
    with pytest.raises(
        SzilardError, match=r"no product with the weight of a layer 'fourth'.* first, head, second"
    ):
        deploy.quantise(original, x, layers=["second", "fourth"])
    with pytest.raises(SzilardError, match="layers is empty"):
        deploy.quantise(original, x, layers=[])
    with pytest.raises(SzilardError, match="'norm'"):
        deploy.quantise(original, x, layers=["norm"])


def test_a_linear_layer_of_several_positions_is_found_by_its_bias():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Flatten(), nn.Linear(20, 3)).eval()
    x = torch.randn(20, 4, 6)
    original = deploy.compile(network, x[:2], backend="onnx")
    found, effects = deploy.quantise(original, x, layers=["0"])
    integers = [
        tuple(one.dims)
        for one in model_of(found).graph.initializer
        if one.data_type == onnx.TensorProto.INT8 and len(one.dims) > 1
    ]
    assert integers == [(6, 5)]
    assert 0 < effects.difference < 0.05
