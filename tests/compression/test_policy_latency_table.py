"""The table of single layers: what is measured, what is kept, and which files are refused."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from fake_clock import FakeClock

from szilard import SzilardError
from szilard.compression.channels.layer_shapes import LayerShape
from szilard.compression.policies.costs import latency_table, tiny_graphs
from szilard.compression.policies.costs.latency_table import LatencyTable
from szilard.compression.policies.costs.meter import Meter
from szilard.compression.policies.costs.rows import Row

onnx = pytest.importorskip("onnx")
reference = pytest.importorskip("onnx.reference")
pytest.importorskip("onnxruntime")

HERE = {"processor": "one", "onnxruntime": "1.0", "threads": "1"}


def conv(inputs=3, outputs=4, bits=32, first=False, positions=(6, 6)):
    ones = (1, 1)
    return Row("conv", inputs, outputs, (3, 3), ones, ones, (1, 1, 1, 1), 1, positions, bits, first)


def seconds_of(name):
    """Microseconds: the sum of all numbers in a text, and 1000 more for a graph with the layer."""
    return 1e-6 * (sum(map(int, re.findall(r"\d+", name))) + (0 if name.startswith("without") else 1000))


class Measured:
    """Measures nothing and remembers what it was asked for."""

    def __init__(self, most=1000):
        self.calls, self.most = [], most

    def __call__(self, runs):
        for run in runs.values():
            run()  # every graph runs
        if len(self.calls) == self.most:
            raise SzilardError("the machine is too noisy")
        self.calls.append(list(runs))
        return {name: seconds_of(name) for name in runs}


def test_a_row_is_the_difference_of_two_graphs_measured_once(tmp_path):
    measure, path = Measured(), tmp_path / "folder" / "table.json"
    table = LatencyTable(path=path, measure=measure, machine=HERE)
    rows = [
        conv(),
        conv(outputs=5),
        conv(bits=8),
        Row("linear", 6, 2),
        Row("linear", 6, 2, positions=(4,), bits=8),
    ]
    table.prepare(rows)
    assert len(measure.calls) == 1
    assert len(measure.calls[0]) == len(rows) + 4  # two rows share their graph without the layer
    for row in rows:
        assert table.seconds(row) == pytest.approx(
            seconds_of(row.key) - seconds_of(tiny_graphs.base_key(row))
        )
    assert table.seconds(conv(outputs=0)) == 0  # it is not in the network
    again = LatencyTable(path=path, measure=measure, machine=HERE)
    assert [again.seconds(row) for row in rows] == [table.seconds(row) for row in rows]
    assert (again.measured, len(again), len(measure.calls)) == (0, 5, 1)
    assert again.seconds(conv(outputs=6)) > 0
    assert (again.measured, len(measure.calls)) == (1, 2)


def test_a_measurement_that_was_killed_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(latency_table, "GROUP", 2)
    rows, path = [conv(outputs=n) for n in range(1, 8)], tmp_path / "t.json"
    with pytest.raises(SzilardError, match="too noisy"):
        LatencyTable(path=path, measure=Measured(most=2), machine=HERE).prepare(rows)
    measure, told = Measured(), []
    table = LatencyTable(path=path, measure=measure, machine=HERE)
    assert len(table) == 4
    table.prepare(rows, lambda *counts: told.append(counts))
    assert told == [(2, 3), (3, 3)]
    assert len(LatencyTable(path=path, machine=HERE)) == 7
    assert not {key for call in measure.calls for key in call} & {row.key for row in rows[:4]}


def test_rows_of_two_processes_are_kept_together(tmp_path):
    path = tmp_path / "t.json"
    one, other = (LatencyTable(path=path, measure=Measured(), machine=HERE) for _ in range(2))
    one.seconds(conv())
    other.seconds(conv(outputs=5))
    assert len(LatencyTable(path=path, machine=HERE)) == 2


def test_the_table_of_another_machine(tmp_path, monkeypatch):
    path = tmp_path / "t.json"
    LatencyTable(path=path, measure=Measured(), machine=HERE).seconds(conv())
    elsewhere = HERE | {"processor": "two"}
    with pytest.raises(
        SzilardError, match=r"another machine or runtime \(one, .*threads 1\), and this is two"
    ):
        LatencyTable(path=path, machine=elsewhere)
    with pytest.raises(SzilardError, match="another machine"):
        LatencyTable(path=path, machine=HERE | {"threads": "2"})
    # the default file is one for each machine, and a copied one is not believed
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = LatencyTable(measure=Measured(), machine=HERE)
    first.seconds(conv())
    second = LatencyTable(measure=Measured(), machine=elsewhere)
    assert first.path.parent == second.path.parent == tmp_path / "szilard" / "latency"
    assert first.path != second.path
    second.path.write_bytes(first.path.read_bytes())
    assert len(LatencyTable(measure=Measured(), machine=elsewhere)) == 0
    assert len(LatencyTable(machine=HERE)) == 1
    assert set(latency_table.this_machine(3)) == set(HERE)


@pytest.mark.parametrize(
    "content",
    [
        "", "{", "[]", "nonsense", '{"format": "other", "machine": {}, "rows": {}}',
        json.dumps({"format": latency_table.FORMAT, "machine": HERE, "rows": []}),
        json.dumps({"format": latency_table.FORMAT, "machine": HERE, "rows": {"a": -1.0}}),
        json.dumps({"format": latency_table.FORMAT, "machine": HERE, "rows": {"a": "1"}}),
        json.dumps({"format": latency_table.FORMAT, "machine": HERE, "rows": {"a": float("nan")}}),
        json.dumps({"format": latency_table.FORMAT, "machine": HERE, "rows": {"a": True}}),
    ],
)  # fmt: skip
def test_damaged_files_are_one_sentence(tmp_path, content):
    path = tmp_path / "t.json"
    path.write_text(content)
    with pytest.raises(SzilardError, match=r"t.json is damaged or no latency table; delete it"):
        LatencyTable(path=path, machine=HERE)


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(SzilardError, match="cannot be"):
        LatencyTable(path=file / "t.json", measure=Measured(), machine=HERE).seconds(conv())
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    assert (
        LatencyTable(measure=Measured(), machine=HERE).seconds(conv()) > 0
    )  # the default is only a convenience


def test_rows_have_the_sizes_of_smaller_layers():
    shape = LayerShape("conv", 8, 16, (3, 3), (2, 2), (1, 1), (1, 1), 1, (9, 9), (5, 5), 0, 0)
    row = Row.of(shape, 6, 4, 8)
    assert (row.positions_out, row.macs, row.weights, row.values) == (
        (5, 5),
        25 * 6 * 4 * 9,
        6 * 4 * 9,
        6 * 81,
    )
    assert row.key == "conv 6>4 at 9x9 3x3 s2x2 d1x1 p1x1x1x1 g1 8 bits"
    assert Row.of(shape, 6, 4, 8, True).key.endswith("first")
    depthwise = LayerShape("conv", 8, 8, (3,), (1,), (1,), (1,), 8, (9,), (9,), 0, 0)
    assert (Row.of(depthwise, 5, 5, 32).groups, Row.of(depthwise, 5, 5, 32).macs) == (5, 9 * 5 * 3)
    assert (Row.of(depthwise, 0, 0, 32).empty, Row.of(depthwise, 0, 0, 32).macs) == (True, 0)
    grouped = LayerShape("conv", 8, 16, (1,), (1,), (0,), (1,), 4, (9,), (9,), 0, 0)
    assert Row.of(grouped, 4, 8, 32).groups == 4
    same = LayerShape(
        "conv", 1, 1, (4,), (1,), (1,), (1,), 1, (9,), (9,), 0, 0
    )  # padding="same", one more behind
    assert (Row.of(same, 1, 1, 32).pads, Row.of(same, 1, 1, 32).positions_out) == ((1, 2), (9,))
    linear = LayerShape("linear", 7, 5, (), (), (), (), 1, (4,), (4,), 0, 0)
    assert (Row.of(linear, 7, 3, 8).macs, Row.of(linear, 7, 3, 8).key) == (84, "linear 7>3 at 4 8 bits")


@pytest.mark.parametrize(
    "row",
    [
        conv(), conv(bits=8), conv(first=True), conv(bits=8, first=True),
        Row("linear", 6, 2), Row("linear", 6, 2, bits=8),
        Row("linear", 6, 2, positions=(4,)), Row("linear", 6, 2, positions=(4,), bits=8),
        Row("conv", 4, 4, (3,), (1,), (1,), (1, 1), 4, (9,), 8),
        Row("conv", 2, 3, (1, 1, 1), (1,) * 3, (1,) * 3, (0,) * 6, 1, (2, 3, 4)),
    ],
    ids=lambda row: row.key,
)  # fmt: skip
def test_graphs_hold_the_layer_in_its_type(row):
    """The runtime computes what the file says, and a graph in integers multiplies nothing else."""
    x = torch.randn(tiny_graphs.input_shape(row), generator=torch.Generator().manual_seed(0))
    for make in (tiny_graphs.with_layer, tiny_graphs.without_layer):
        model = onnx.load_model_from_string(make(row))
        onnx.checker.check_model(model, full_check=True)
        (wanted,) = reference.ReferenceEvaluator(model).run(None, {"x": x.numpy()})
        (found,) = latency_table._run(make(row), row, 1)()
        step = 0.05 if row.bits == 8 else 1e-5
        assert np.abs(found.numpy() - wanted).max() <= 1.01 * step
        products = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
        layer = int(make is tiny_graphs.with_layer)
        assert len(products) == layer + int(row.kind == "conv" and not row.first)
        if layer:
            stored = {one.name: one for one in model.graph.initializer}
            made = {node.output[0]: node for node in model.graph.node}
            weight = products[-1].input[1]
            if row.bits == 8:
                assert made[weight].op_type == "DequantizeLinear"
                assert stored[made[weight].input[0]].data_type == onnx.TensorProto.INT8
                assert made[products[-1].input[0]].op_type == "DequantizeLinear"
            else:
                assert stored[weight].data_type == onnx.TensorProto.FLOAT


def test_the_meter_tries_again_and_then_refuses_or_notes(monkeypatch):
    clock = FakeClock()
    run = clock.taking(2**-10, share=0.5)
    with pytest.raises(SzilardError, match="too noisy to measure latency now"):
        Meter(clock=clock, reference=clock.taking(2**-11))({"it": run})
    assert clock.now > 3 * 2  # three attempts of two seconds
    meter, began = Meter(noisy=True, clock=clock, reference=clock.taking(2**-11)), clock.now
    times = clock.taking(*[2**-10] * 2, *[2**-9] * 8, share=0.5)
    assert meter({"it": times})["it"] == pytest.approx(2**-10)  # not the median, which others disturb
    assert clock.now - began < 3
    assert len(meter.notes) == 1
    assert "had a processor for 50 % of the time" in meter.notes[0]
    calls = 0

    def noisy_at_first():
        nonlocal calls
        calls += 1
        clock.spend(2**-10, 0.5 if calls < 500 else 1.0)

    meter = Meter(clock=clock, reference=clock.taking(2**-11))
    assert meter({"it": noisy_at_first})["it"] == pytest.approx(2**-10)
    assert calls > 1000
    assert meter.notes == []
    brief, began = Meter(brief=True, clock=clock, reference=clock.taking(2**-11)), clock.now
    brief({"it": clock.taking(2**-12), "other": clock.taking(2**-13)})
    assert clock.now - began < 0.5
