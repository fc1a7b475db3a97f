"""Latency of policies: what is predicted from layers and what is measured, with a meter that knows the truth."""

from __future__ import annotations

import random
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import two_convolutions
from torch import nn

from szilard import SzilardError
from szilard.compression.channels.units import ChannelUnits
from szilard.compression.policies.costs import latency, tiny_graphs
from szilard.compression.policies.costs.latency import LatencyCost
from szilard.compression.policies.costs.latency_fit import LatencyFit, Parts
from szilard.compression.policies.costs.policy_rows import first_layer, policy_rows
from szilard.compression.policies.costs.rounded_values import RoundedValues
from szilard.compression.policies.policy import LayerPolicy, Policy
from szilard.compression.policies.space import Decision, Space

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
HERE = {"processor": "one", "onnxruntime": "1.0", "threads": "1"}


NETWORK = two_convolutions.small()
X = torch.randn(5, 3, 6, 6)
UNITS = ChannelUnits.of(NETWORK, X)
SPACE = Space(
    (
        Decision("0", "channels", ("0",), (8, 5, 2)),
        Decision("2", "channels", ("2",), (6, 4, 3, 1)),
        *(Decision(name, "bits", (name,), ((32, 32), (8, 8))) for name in ("0", "2", "5")),
    ),
    UNITS.of_layer,
    UNITS.fixed,
)


def stored(*shapes):
    """Weights of layers, named as in compiled files."""
    weights = {f"network.{name}.weight": np.zeros(shape, np.float32) for name, shape in shapes}
    return [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()]


def graph_of(nodes, tensors, size, outputs):
    nodes = [onnx.helper.make_node(kind, given, [name], **more) for kind, given, name, more in nodes]
    kind = onnx.TensorProto.FLOAT
    given, result = (
        onnx.helper.make_tensor_value_info(*one) for one in (("x", kind, size), ("mean", kind, outputs))
    )
    graph = onnx.helper.make_graph(nodes, "g", [given], [result], tensors)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 19)]).SerializeToString()


CONTENT = graph_of(
    [
        ("Conv", ["x", "network.0.weight"], "a", {"pads": [1] * 4}),
        ("Relu", ["a"], "b", {}),
        ("Conv", ["b", "network.2.weight"], "c", {}),
        ("Relu", ["c"], "d", {}),
        ("Flatten", ["d"], "e", {}),
        ("Gemm", ["e", "network.5.weight"], "f", {"transB": 1}),
        ("Identity", ["f"], "mean", {}),
    ],
    stored(("0", (8, 3, 3, 3)), ("2", (6, 8, 3, 3)), ("5", (4, 96))),
    [1, 3, 6, 6],
    [1, 4],
)


class Run:
    """In place of a compiled network: it returns the policy that it was compiled for."""

    content = CONTENT

    def __init__(self, policy):
        self.policy = policy

    def __call__(self, x):
        return self.policy


def row_seconds(name):
    """10 microseconds without the layer; with it, one more for each unit of the numbers in its name."""
    return 1e-5 if name.startswith("without") else 1e-5 + 1e-6 * sum(map(int, re.findall(r"\d+", name)))


class World:
    """A machine whose latencies follow a known law; it drifts, and networks below a number of channels are slower."""

    def __init__(self):
        self.drift, self.slower, self.measurements = 1.0, 1.0, []

    def truth(self, policy):
        rows = list(policy_rows(UNITS, policy, "0").values())
        layers = sum(row_seconds(row.key) - row_seconds(tiny_graphs.base_key(row)) for row in rows)
        bits = [32, *(row.bits for row in rows)]
        rounded = sum(
            row.values for row, one, other in zip(rows, bits, bits[1:], strict=False) if one != other
        )
        switched, rounded = rounded, rounded + 4 * (bits[-1] == 8)  # the outputs
        factor = self.slower if policy["0"].channels < 8 else 1.0
        return (2e-4 + 1.1 * layers + 2e-7 * rounded + 1e-7 * switched) * factor

    def __call__(self, runs):
        self.measurements.append(list(runs))
        found = {}
        for name, run in runs.items():
            what = run()
            found[name] = self.drift * (self.truth(what) if isinstance(what, Policy) else row_seconds(name))
        return found


@pytest.fixture
def world(monkeypatch):
    def compiled(network, policy, example, inputs, **options):
        assert options["batch"] == 1
        assert example.shape == (1, 3, 6, 6)
        outputs = [module.weight.shape[0] for module in network.modules() if hasattr(module, "weight")]
        assert outputs == [layer.channels for layer in policy.layers]  # the small network, not the original
        return SimpleNamespace(run=Run(policy))

    def with_integers(made, layers, inputs):
        layers = [
            LayerPolicy(one.name, one.channels, *((8, 8) if one.name in layers else (32, 32)))
            for one in made.run.policy.layers
        ]
        return SimpleNamespace(run=Run(Policy(tuple(layers))))

    monkeypatch.setattr(latency, "compile_policy", compiled)
    monkeypatch.setattr(latency, "with_integers", with_integers)
    return World()


def cost_of(world, tmp_path, **options):
    options = {"table_path": tmp_path / "t.json", "measure": world, "machine": HERE} | options
    return LatencyCost(NETWORK, X, UNITS, **options)


def made(policy):
    kept = UNITS.kept_of(policy)
    return UNITS.smaller(NETWORK, {name: range(count) for name, count in kept.items()}).eval()


def choices(count, seed=0):
    draw = random.Random(seed)
    return [tuple(draw.randrange(len(one.options)) for one in SPACE.decisions) for _ in range(count)]


def test_predictions_are_those_of_the_law(world, tmp_path):
    cost = cost_of(world, tmp_path)
    assert cost.unit == "seconds"
    original = SPACE.policy(SPACE.original)
    assert cost.reference == pytest.approx(world.truth(original))
    for choice in choices(20):
        policy = SPACE.policy(choice)
        assert cost.predicted(policy) == pytest.approx(world.truth(policy), rel=0.02)
    a, b, c, d = cost.fit.coefficients
    assert (a, b, c + d) == pytest.approx(
        (2e-4, 1.1, 3e-7), rel=0.05
    )  # c and d differ by the outputs alone here
    assert cost.table_error_percent < 3
    assert cost.error_percent == cost.table_error_percent
    assert cost.notes == []


def test_only_floats_are_calibrated_where_nothing_becomes_integers(world, tmp_path):
    cost = cost_of(world, tmp_path, integers=False)
    policy = SPACE.policy((1, 2, 0, 0, 0))
    assert cost.predicted(policy) == pytest.approx(world.truth(policy), rel=0.02)
    assert not any("8 bits" in name for names in world.measurements for name in names)


def test_a_prepared_space_needs_no_further_row(world, tmp_path):
    cost = cost_of(world, tmp_path)
    told = []
    cost.prepare(SPACE, lambda *counts: told.append(counts))
    before, rows = len(world.measurements), len(cost.table)
    assert told[-1][0] == told[-1][1]
    for choice in choices(40, 1):
        cost.predicted(SPACE.policy(choice))
    assert (len(world.measurements), len(cost.table)) == (before, rows)
    again = cost_of(world, tmp_path)  # reads the rows from the file, and measures whole networks only
    again.predicted(SPACE.policy(SPACE.smallest))
    assert again.table.measured == 0


def test_a_network_is_measured_beside_the_original(world, tmp_path):
    cost, policy = cost_of(world, tmp_path), SPACE.policy((1, 1, 1, 0, 0))
    assert cost.reference > 0
    world.drift = 3.0  # the machine is slower now; the ratio is not
    assert cost.measured(made(policy), policy) == pytest.approx(world.truth(policy))
    assert world.measurements[-1] == ["original", "network"]


def test_measured_candidates_correct_the_prediction(world, tmp_path):
    cost, policies = cost_of(world, tmp_path), [SPACE.policy(one) for one in choices(30, 2)]
    pruned = [one for one in policies if one["0"].channels < 8]
    assert cost.reference > 0
    world.slower = 1.3  # the calibration was of another law

    def error():
        return sum(abs(cost.predicted(one) / world.truth(one) - 1) for one in pruned) / len(pruned)

    before, claimed = error(), cost.table_error_percent
    for policy in pruned[:6]:
        cost.observe(policy, cost.measured(made(policy), policy))
    assert before > 0.2
    assert error() < 0.4 * before
    assert cost.table_error_percent > claimed  # candidates count as they were predicted


def test_bits_that_the_runtime_does_not_have(world, tmp_path):
    cost = cost_of(world, tmp_path)
    shapes = list(UNITS.layers.items())
    four = Policy(tuple(LayerPolicy(name, shape.outputs, 4, 32) for name, shape in shapes))
    with pytest.raises(
        SzilardError, match=r"4-bit weights and 32-bit inputs for 0, and ONNX Runtime computes with 32"
    ):
        cost.predicted(four)
    other = Policy(tuple(LayerPolicy(name + "x", shape.outputs) for name, shape in shapes))
    with pytest.raises(SzilardError, match="0x"):
        cost.predicted(other)


def test_a_noisy_machine_and_a_missing_runtime(tmp_path, monkeypatch, world):
    def refuses(runs):
        raise SzilardError("the machine is too noisy")

    with pytest.raises(SzilardError, match="too noisy"):
        _ = cost_of(refuses, tmp_path).reference
    from szilard.deploy.backends.onnx_runtime import OnnxRuntime

    monkeypatch.setattr(OnnxRuntime, "modules", ("onnx", "no_such_runtime"))
    with pytest.raises(SzilardError, match=r"it needs no_such_runtime: pip install 'szilard\[onnx\]'"):
        cost_of(world, tmp_path)


def test_the_first_layer_reads_the_input_itself():
    assert first_layer(UNITS, NETWORK, X[:1]) == "0"
    scaled = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1)).eval()
    with torch.no_grad():
        scaled[0].weight.fill_(2.0)
    assert first_layer(ChannelUnits.of(scaled, X), scaled, X[:1]) is None


def test_the_fit_with_few_networks():
    fit = LatencyFit()
    assert fit.predict(Parts(3e-4, 10)) == pytest.approx(3e-4)  # nothing measured: the sum of the layers
    fit.calibrate(Parts(3e-4, 0), 5e-4)
    assert fit.predict(Parts(3e-4, 0)) == pytest.approx(5e-4, rel=1e-3)
    assert fit.predict(Parts(1e-4, 0)) == pytest.approx(3e-4, rel=0.01)  # the rest is a constant
    assert fit.error_percent is None
    fit.observe(Parts(1e-4, 0), 2e-4)
    assert fit.error_percent == pytest.approx(50, abs=1)


def test_values_between_floats_and_integers_are_those_of_the_graph():
    """x → one → Relu → two → + Relu's output → Relu → three: 2 channels of 3 x 3."""
    weights = [(name, (2, 2, 1, 1)) for name in ("one", "two", "three")]
    nodes = [
        ("Conv", ["x", "network.one.weight"], "a", {}),
        ("Relu", ["a"], "b", {}),
        ("Conv", ["b", "network.two.weight"], "c", {}),
        ("Add", ["c", "b"], "d", {}),
        ("Relu", ["d"], "e", {}),
        ("Conv", ["e", "network.three.weight"], "mean", {}),
    ]
    found = RoundedValues(graph_of(nodes, stored(*weights), [1, 2, 3, 3], [1, 2, 3, 3]))
    value = 18
    counts = {
        (): 0,
        ("one",): 2 * value,  # x, and b for two and the sum
        ("two",): 2 * value,  # b for two, and c for the sum
        ("three",): value,  # e
        ("one", "two"): 3 * value,  # x, b and c for the sum, which nothing in integers reads
        ("two", "three"): 3 * value,  # b for two, c for the sum of floats, e
        ("one", "two", "three"): value,  # x: the sum is one of integers
    }
    assert {names: found.count(frozenset(names), {}) for names in counts} == counts
    half = found.count(frozenset({"one", "two"}), {"one": 0.5, "two": 0.5, "three": 1.0})
    assert half == value + 2 * value / 2  # the input keeps its channels
