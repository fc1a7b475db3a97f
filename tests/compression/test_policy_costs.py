"""Costs of policies that are no latency (estimated joules, bytes of a file, a user's function) and their ONNX files."""

from __future__ import annotations

import math

import pytest
import torch
import two_convolutions
from torch import nn

from szilard import SzilardError, SzilardWarning, cost
from szilard.compression.channels.units import ChannelUnits
from szilard.compression.policies.compiled_policy import compile_policy, integer_layers
from szilard.compression.policies.costs.energy import EnergyCost
from szilard.compression.policies.costs.file_bytes import BytesCost
from szilard.compression.policies.costs.own_function import OwnCost
from szilard.compression.policies.options import space_of
from szilard.compression.policies.policy import LayerPolicy, Policy
from szilard.compression.policies.space import Decision, Space
from szilard.cost.energy import joules_of_products
from szilard.cost.record import Cost

NETWORK = two_convolutions.small()
X = torch.randn(20, 3, 6, 6)
UNITS = ChannelUnits.of(NETWORK, X)
WEIGHTS = 3 * 8 * 9 + 8 * 6 * 9 + 96 * 4
MACS = 36 * 3 * 8 * 9 + 16 * 8 * 6 * 9 + 96 * 4
VALUES = (3 * 36 + 8 * 36) + (8 * 36 + 6 * 16) + (96 + 4)  # inputs and outputs of layers


def policy(first=8, second=6, bits=(32, 32), **of_layer):
    pairs = {"0": bits, "2": bits, "5": bits} | {
        name.removeprefix("_"): pair for name, pair in of_layer.items()
    }
    sizes = zip(pairs, (first, second, 4), strict=True)
    return Policy(tuple(LayerPolicy(name, count, *pairs[name]) for name, count in sizes))


def made(chosen):
    kept = UNITS.kept_of(chosen)
    return UNITS.smaller(NETWORK, {name: range(count) for name, count in kept.items()}).eval()


def test_energy_is_that_of_the_table():
    energy = EnergyCost(UNITS)
    held = 4 * WEIGHTS
    assert held <= 8 << 10  # the smallest memory, 10 pJ for 8 bytes
    wanted = (MACS * (3.7 + 0.9) + (held + 4 * VALUES) / 8 * 10) * 1e-12
    assert energy.reference == pytest.approx(wanted)
    assert energy.predicted(policy()) == energy.reference
    integers = (MACS * (0.2 + 0.1) + (WEIGHTS + VALUES) / 8 * 10) * 1e-12
    assert energy.predicted(policy(bits=(8, 8))) == pytest.approx(integers)
    stored = energy.predicted(policy(bits=(8, 32)))  # the products are of floats
    assert stored == pytest.approx((MACS * 4.6 + (WEIGHTS + 4 * VALUES) / 8 * 10) * 1e-12)
    pruned = energy.predicted(policy(first=4))
    macs = 36 * 3 * 4 * 9 + 16 * 4 * 6 * 9 + 96 * 4
    moved = 3 * 4 * 9 + 4 * 6 * 9 + 96 * 4 + (3 * 36 + 4 * 36) + (4 * 36 + 6 * 16) + 100
    assert pruned == pytest.approx((macs * 4.6 + 4 * moved / 8 * 10) * 1e-12)
    assert energy.measured(made(policy(first=4)), policy(first=4)) == pruned
    assert energy.unit == "joules"
    assert "estimated" in energy.notes[0]


def test_energy_of_floats_is_that_of_the_package():
    counted = Cost(macs=1000, bytes_moved=5000, bits=8 * 40000)
    assert cost.joules(counted).joules_inference == pytest.approx(joules_of_products(1000, 0, 5000, 40000))
    assert joules_of_products(0, 0, 8, 32 << 10) == pytest.approx(20e-12)
    assert joules_of_products(0, 0, 8, 2 << 20) == pytest.approx(1300e-12)  # DRAM


class Coder:
    """A file of 500 bytes and a share of the bits of each weight; it counts its calls."""

    def __init__(self, shares):
        self.shares, self.calls = shares, 0

    def __call__(self, network, chosen):
        self.calls += 1
        sizes = [module.weight.numel() for module in network.modules() if hasattr(module, "weight")]
        bits = [layer.weight_bits for layer in chosen.layers]
        return bytes(500 + round(sum(n * b / 8 * self.shares[b] for n, b in zip(sizes, bits, strict=True))))


FILES = Space(
    tuple(Decision(name, "bits", (name,), ((32, 32), (8, 32), (4, 32))) for name in ("0", "2", "5")),
    UNITS.of_layer,
    UNITS.fixed,
)


def test_bytes_are_fitted_on_coded_files():
    coder = Coder({32: 0.9, 8: 0.7, 4: 0.85})
    found = BytesCost(NETWORK, UNITS, coder)
    assert found.reference == len(coder(NETWORK, policy()))
    told = []
    found.prepare(FILES, lambda *counts: told.append(counts))
    assert told == [(1, 2), (2, 2)]
    for chosen in (policy(bits=(8, 32)), policy(bits=(4, 32)), policy(4, 3), policy(_0=(8, 32), _5=(4, 32))):
        small = made(chosen)
        assert found.predicted(chosen) == pytest.approx(len(coder(small, chosen)), rel=0.12)
        value = found.measured(small, chosen)
        assert value == len(coder(small, chosen))
        found.observe(chosen, value)
    calls = coder.calls
    for chosen in (policy(2, 2, (8, 32)), policy(5, 5, (4, 32)), policy(3, 6, _2=(8, 32))):
        assert found.predicted(chosen) == pytest.approx(len(coder(made(chosen), chosen)), rel=0.05)
    assert coder.calls == calls + 3  # those of this test
    assert 0 < found.error_percent < 12
    assert found.unit == "bytes"


def test_the_users_function_is_measured_and_followed():
    seen = []

    def seconds(network):
        seen.append(network)
        return 1.0 + sum(module.weight.numel() for module in network.modules() if hasattr(module, "weight"))

    found = OwnCost(seconds, NETWORK, UNITS)
    assert (found.reference, seen) == (1.0 + WEIGHTS, [NETWORK])
    half = policy(first=4)
    ratio = (36 * 3 * 4 * 9 + 16 * 4 * 6 * 9 + 96 * 4) / MACS
    assert found.predicted(policy()) == pytest.approx(found.reference)
    assert found.predicted(half) == pytest.approx(ratio * found.reference)
    small = made(half)
    value = found.measured(small, half)
    assert value == 1.0 + 3 * 4 * 9 + 4 * 6 * 9 + 96 * 4
    before = found.predicted(half)
    found.observe(half, value)
    assert found.predicted(half) == pytest.approx(value)  # two measurements, two coefficients
    assert found.predicted(policy()) == pytest.approx(found.reference)
    assert found.error_percent == pytest.approx(100 * abs(before / value - 1))
    assert found.predicted(policy(bits=(8, 8))) == found.predicted(policy())  # the function sees floats


def test_a_function_that_counts_weights_is_predicted_before_the_search():
    found = OwnCost(lambda network: float(sum(p.numel() for p in network.parameters())), NETWORK, UNITS)
    space = space_of(UNITS)
    found.prepare(space)
    for choice in ((1, 0), (0, 1), (2, 3)):
        chosen = space.policy(choice)
        assert found.predicted(chosen) == pytest.approx(found.measured(made(chosen), chosen), rel=0.05)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (math.nan, "returned nan"), (-1.0, "returned -1.0"), (math.inf, "returned inf"), ("fast", "returned 'fast'"),
        (None, "returned None"), (0.0, "returns 0 for the original"),
        (ValueError("no device"), "fails on a network .no device"),
    ],
)  # fmt: skip
def test_what_a_users_function_must_not_do(answer, sentence):
    def function(network):
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises(SzilardError, match=sentence):
        OwnCost(function, NETWORK, UNITS)


def test_bits_of_the_runtime():
    assert integer_layers(policy(_2=(8, 8))) == ["2"]
    for pair in ((8, 32), (4, 4), (32, 8)):
        with pytest.raises(
            SzilardError, match=rf"{pair[0]}-bit weights and {pair[1]}-bit inputs for 2, and ONNX"
        ):
            integer_layers(policy(_2=pair))


@pytest.mark.usefixtures("one_registry")
def test_a_policy_becomes_a_file(tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    chosen = policy(first=5, second=4, _2=(8, 8))
    network, path = made(chosen), tmp_path / "small.onnx"
    found = compile_policy(network, chosen, X[:1], X, path=path, batch=1)
    with torch.no_grad():
        wanted = network(X[:1])
    difference = (found(X[:1]).mean - wanted).abs().max()
    assert 0 < difference < 0.05 * wanted.abs().max()
    stored = onnx.load(path).graph.initializer
    shapes = {tuple(one.dims): one.data_type for one in stored if len(one.dims) == 4}
    assert shapes == {(5, 3, 3, 3): onnx.TensorProto.FLOAT, (4, 5, 3, 3): onnx.TensorProto.INT8}
    zero_points = [one for one in stored if one.name.endswith("_zero_point")]
    scales = {one.name.removesuffix("_scale") for one in stored if one.name.endswith("_scale")}
    assert {one.name.removesuffix("_zero_point") for one in zero_points} == scales != set()


@pytest.mark.usefixtures("one_registry")
def test_a_product_without_a_name_stays_in_floats(tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 5, bias=False), nn.ReLU(), nn.Flatten()).eval()  # of 4 positions
    x, path = torch.randn(8, 4, 6), tmp_path / "floats.onnx"
    with pytest.warns(SzilardWarning, match="0 stays in float32: its product has no name"):
        found = compile_policy(network, Policy((LayerPolicy("0", 5, 8, 8),)), x[:2], x, path=path)
    assert "quantisation" not in found.metadata
    assert path.read_bytes() == found.run.content
