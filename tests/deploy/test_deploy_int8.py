"""8-bit integers in ONNX files: by ONNX Runtime's quantiser, and those of a .szd file."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from deploy_networks import bayesian, inputs
from torch import nn

import szilard
from szilard import SzilardError, SzilardWarning, deploy, networks
from szilard.deploy.int8 import quality
from szilard.deploy.int8_levels import with_levels
from szilard.model.int8_levels import int8_levels

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.usefixtures("one_registry")


@pytest.fixture(scope="module")
def point():
    """A network that has learned which quarter of its inputs has the largest mean, compiled as a point; its targets."""
    torch.manual_seed(0)
    network, x = networks.build("mlp:64", (1, 8, 8), 4), torch.randn(512, 1, 8, 8)
    y = x.view(512, 4, 16).mean(2).argmax(1)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()
        optimizer.step()
    return deploy.compile(network.eval(), x[:2], backend="onnx"), x, y


def test_quantised_networks_say_what_they_lose(point, tmp_path):
    original, x, y = point
    data = deploy.Evaluation(x, y, 3 * torch.randn(100, 1, 8, 8))
    found, effects = deploy.quantise(original, x[:100], data, path=tmp_path / "int8.onnx")
    assert effects.before["accuracy"] > 0.95
    assert effects.after["accuracy"] > effects.before["accuracy"] - 0.03
    assert set(effects.after) == {"accuracy", "nll", "auroc_total"}
    assert effects.after == quality(found, data)
    # on all inputs, not the first 100 alone
    worst = float((found(x).answer - original(x).answer).abs().max())
    assert effects.difference == pytest.approx(worst, rel=1e-3)
    assert 0 < effects.difference < 0.3  # it changes, and not by much
    assert effects.bytes[1] < 0.6 * effects.bytes[0]
    assert "integers" in found.metadata["quantisation"]
    opened = deploy.load(tmp_path / "int8.onnx")
    assert torch.equal(opened(x[:9]).answer, found(x[:9]).answer)
    weights = [one for one in onnx.load(tmp_path / "int8.onnx").graph.initializer if len(one.dims) == 2]
    assert {one.data_type for one in weights} == {onnx.TensorProto.INT8}


def test_inputs_that_do_not_vary_are_a_warning(point):
    original, x, _ = point
    for same in (torch.full((20, 1, 8, 8), 0.5), x[:1], x[:1].expand(5, 1, 8, 8)):
        with pytest.warns(SzilardWarning, match="calibration inputs do not vary"):
            deploy.quantise(original, same)
    with warnings.catch_warnings():
        warnings.simplefilter("error", SzilardWarning)
        deploy.quantise(original, x[:2])


def test_quality_is_that_of_the_metrics(point):
    original, x, y = point
    found = quality(original, deploy.Evaluation(x, y))
    p = original(x).answer
    assert found["nll"] == pytest.approx(nn.functional.nll_loss(p.log(), y).item(), rel=1e-5)
    assert found["accuracy"] == pytest.approx((p.argmax(1) == y).float().mean().item())


def test_what_cannot_be_quantised(point):
    original, x, y = point
    with pytest.raises(SzilardError, match="shape"):
        deploy.quantise(original, torch.ones(3, 5))
    with pytest.raises(SzilardError, match="targets must be classes"):
        deploy.quantise(original, x[:10], deploy.Evaluation(x, y.float()))
    eager = deploy.compile(nn.Linear(3, 2).eval(), torch.ones(1, 3), backend="eager")
    with pytest.raises(SzilardError, match="not of eager"):
        deploy.quantise(eager, torch.ones(4, 3))


@pytest.fixture(scope="module")
def compressed(tmp_path_factory):
    """A .szd file, the network that it holds, and that network compiled."""
    path = tmp_path_factory.mktemp("szd") / "network.szd"
    network = networks.build("mlp:32", (1, 8, 8), 4).eval()
    szilard.compress(network, inputs(64), lam=1e-6).save(path)
    network.load_state_dict(szilard.load(path))
    return path, network, deploy.compile(network, inputs(2), backend="onnx")


def test_the_file_and_the_device_hold_one_network(compressed, tmp_path):
    szd, network, original = compressed
    path = tmp_path / "network.onnx"
    levels = int8_levels(szd)
    assert len(levels) >= 2
    found = with_levels(original, levels, path=path)
    model = onnx.load(path)
    state = network.state_dict()
    stored = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    nodes = {node.output[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    assert {name.removeprefix("network.") for name in nodes} == set(levels)
    assert not set(nodes) & set(stored)
    evaluator = onnx.reference.ReferenceEvaluator
    for name, node in nodes.items():
        assert stored[node.input[0]].dtype == np.int8
        given = {one: stored[one] for one in node.input}
        types = [
            onnx.helper.make_tensor_value_info(one, onnx.helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
            for one, v in given.items()
        ]
        graph = onnx.helper.make_graph(
            [node], "g", types, [onnx.helper.make_tensor_value_info(name, 1, None)]
        )
        (value,) = evaluator(onnx.helper.make_model(graph, opset_imports=model.opset_import)).run(None, given)
        assert torch.equal(torch.from_numpy(value), state[name.removeprefix("network.")])
    assert torch.equal(found(inputs(20)).answer, original(inputs(20)).answer)
    assert torch.equal(deploy.load(path)(inputs(20)).answer, found(inputs(20)).answer)


def test_levels_of_another_network_are_refused(compressed):
    szd, _, original = compressed
    levels = int8_levels(szd)
    name = next(iter(levels))
    integers, steps = levels[name]
    for wrong, sentence in (
        ({name: (-integers - 1, steps)}, "is not the weight"),
        ({name: (integers, steps * np.float32(1.0001))}, "is not the weight"),
        ({name: (integers[:1], steps)}, "must have shape"),
        ({name: (integers.astype(np.int16), steps)}, "must be int8"),
        ({"other.weight": levels[name]}, "stores no weight other.weight"),
        ({}, "no levels"),
    ):
        with pytest.raises(SzilardError, match=sentence):
            with_levels(original, wrong)


def test_steps_of_rows_and_levels_beyond_int8(tmp_path):
    from szilard.file import Document, write
    from szilard.file.kinds import Levels

    generator = np.random.default_rng(0)
    rows, big = generator.integers(-127, 128, (4, 6)), generator.integers(-500, 500, (3, 5))
    scales = np.array([-8, 0, 3, 17], np.int8)
    records = [
        Levels("a", "float32", (4, 6), rows.astype(np.int32), -70, scales),
        Levels("b", "float32", (3, 5), big.astype(np.int32), -70),
        Levels("c", "float32", (4, 6), rows.astype(np.int32), -70, None, np.zeros(6, np.int8) + 3),
        Levels("d", "float16", (4, 6), rows.astype(np.int32), -70),
    ]
    path = tmp_path / "levels.szd"
    write(path, Document(records, {}))
    found = int8_levels(path)
    assert set(found) == {"a"}
    integers, steps = found["a"]
    assert integers.dtype == np.int8
    assert np.array_equal(integers.astype(np.float32) * steps[:, None], records[0].value())


@pytest.mark.slow
def test_moments_are_quantised_with_a_report(tmp_path):
    network = bayesian("mlp:32")
    original = deploy.compile(network, inputs(2), backend="onnx", path=tmp_path / "f.onnx")
    _, effects = deploy.quantise(
        tmp_path / "f.onnx",
        inputs(100),
        deploy.Evaluation(inputs(100), original(inputs(100)).labels, 4 * inputs(60)),
    )
    assert {"auroc_total", "auroc_epistemic"} <= set(effects.after)
    assert abs(effects.after["auroc_epistemic"] - effects.before["auroc_epistemic"]) < 0.1
