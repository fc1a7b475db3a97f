"""The benchmark of training steps: timing, memory and tables."""

import functools
import json
import os

import pytest

import train_step
from szilard import bayes
from szilard.cost import interleave
from szilard.kernels import dispatch
from training import contestants, memory, peers, step_tables
from training.contestants import DETERMINISTIC, MEAN_FIELD, Problem, ssvi_name


@pytest.fixture(scope="module")
def cell():
    """Three rounds and an unlimited budget, so that the measured rows do not depend on the machine's speed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_step, "interleave", functools.partial(interleave.interleave, most_rounds=3))
        return train_step.measure("lenet5", 2, 1, [0.05], budget=1e9, amortised=[0.05], quick=True)


def test_every_row_is_timed_and_printed(cell):
    rows = list(cell["steps"])
    assert rows[0] == DETERMINISTIC
    assert {MEAN_FIELD, "SSVI 95 %", "masked-dense SSVI 95 %"} < set(rows)
    assert set(cell["intervals"]) == {DETERMINISTIC, "SSVI 95 %"}
    for row in cell["steps"].values():
        assert 0 < row["low"] <= row["median"] <= row["high"]
    assert [len(line) for line in step_tables.body(cell)] == [len(step_tables.COLUMNS)] * len(rows)
    assert all(len(line) == len(step_tables.MEMORY_COLUMNS) for line in step_tables.memory_body(cell))
    assert json.loads(json.dumps(cell)) == cell


def test_quick_skips_intervals_beyond_the_budget():
    cell = train_step.measure("lenet5", 2, 1, [0.05], budget=0.0, amortised=[0.05], quick=True)
    assert cell["intervals"] == {}
    assert step_tables.ratio(cell, "SSVI 95 %", kind="intervals") is None
    assert len(step_tables.body(cell)) == len(cell["steps"])


def test_ordinary_steps_collect_no_growth_gradient_and_an_interval_moves_the_support_once():
    row = contestants.ssvi(Problem.make("lenet5", 2), 0.05)
    supports = [weight.support for weight in bayes.weights(row.network).values()]
    before = [support.flat() for support in supports]
    for _ in range(60):
        row.ordinary_step()
        assert not row.method.moves.listening
    assert all(a.equal(support.flat()) for a, support in zip(before, supports, strict=True))
    assert memory.growth(row) > 0  # runs a whole interval
    changed = [not a.equal(support.flat()) for a, support in zip(before, supports, strict=True)]
    assert changed == [not support.is_full for support in supports]


@pytest.mark.parametrize("density", [0.05, 0.5])
def test_memory_is_proportional_to_the_existing_entries(density):
    row = contestants.ssvi(Problem.make("lenet5", 2), density)
    row.step()
    found = memory.held(row)
    weights = bayes.weights(row.network).values()
    biases = sum(p.numel() for name, p in row.network.named_parameters() if name.endswith("bias"))
    values = 4 * (2 * sum(weight.support.nnz for weight in weights) + biases)
    assert found["weights"] == found["gradients"] == values
    steps = 4 * len(list(row.network.parameters()))  # Adam's counters
    assert found["optimiser"] == 2 * values + steps
    sparse = [weight.support for weight in weights if not weight.support.is_full]
    assert found["index"] == sum(array.nbytes for support in sparse for array in support.index)
    assert memory.total(found) == 4 * values + steps + found["index"]


def test_memory_of_dense_rows():
    problem = Problem.make("lenet5", 2)
    plain, bayesian = contestants.deterministic(problem), contestants.mean_field(problem)
    for row in (plain, bayesian):
        row.step()
    parts = memory.held(plain)
    assert parts["weights"] == parts["gradients"] == 4 * 61_706
    assert memory.held(bayesian)["index"] == 0
    assert memory.total(memory.held(bayesian)) == pytest.approx(2 * memory.total(parts), rel=0.01)


def example_cell(network="mlp", batch=128, threads=1, **ms):
    rows = {DETERMINISTIC: 10, f"{DETERMINISTIC}, SGD": 8, MEAN_FIELD: 40, "SSVI 95 %": 4, **ms}
    steps = {
        name: {"median": t / 1e3, "low": t / 1e3, "high": t / 1e3, "rounds": 5} for name, t in rows.items()
    }
    held = {"gradients": 0, "optimiser": 0, "buffers": 0}
    return {
        "network": network, "batch": batch, "threads": threads, "steps": steps, "intervals": {},
        "memory": {
            MEAN_FIELD: {"weights": 100, "index": 0, "index of full supports": 900, **held},
            "SSVI 95 %": {"weights": 5, "index": 2, "growth": 13, **held},
        },
    }  # fmt: skip


def test_figures_are_ratios_of_medians():
    found = step_tables.figures([example_cell(), example_cell("resnet20"), example_cell(batch=16, threads=2)])
    assert found["mlp_ssvi95_vs_deterministic"] == 0.4
    assert found["mlp_ssvi95_vs_fastest_deterministic"] == 0.5
    assert found["resnet20_ssvi95_vs_deterministic"] == 0.4
    assert found["mlp_ssvi95_vs_deterministic_b16_t2"] == 0.4
    assert found["mlp_ssvi95_memory_vs_mean_field"] == 0.07
    assert found["mlp_ssvi95_memory_with_growth_batches_vs_mean_field"] == 0.2
    assert found["mlp_ssvi95_vs_bayesian_torch"] is None
    peer = step_tables.figures([example_cell(**{"bayesian-torch": 80})])
    assert peer["mlp_ssvi95_vs_bayesian_torch"] == 0.05
    assert peer["resnet20_ssvi95_vs_deterministic"] is None


def test_cells_where_ssvi_is_slower_are_listed():
    won, lost = example_cell(), example_cell("lenet5", **{"SSVI 95 %": 9})
    assert step_tables.losses([won, lost]) == [["lenet5", "128", "1", "5", "0.900", "1.125"]]


def test_a_missing_peer_only_omits_its_row(monkeypatch, capsys):
    def absent(network, batch):
        raise ModuleNotFoundError("No module named 'bayesian_torch'", name="bayesian_torch.models")

    monkeypatch.setattr(peers, "PEERS", {"bayesian-torch": absent})
    cell = train_step.measure("lenet5", 2, 1, [], budget=0.0, amortised=[], quick=True)
    assert "bayesian-torch" not in cell["steps"]
    assert "bayesian_torch is not installed; make bench-peers" in capsys.readouterr().out


@pytest.mark.parametrize("name", peers.PEERS)
@pytest.mark.parametrize("network", contestants.NETWORKS)
def test_peers_train(name, network):
    pytest.importorskip(name.replace("-", "_"))
    row = contestants.peer(Problem.make(network, 2), name)
    values = [parameter.detach().clone() for parameter in row.network.parameters()]
    row.step()
    trained = list(row.network.parameters())
    assert len(trained) > len(list(Problem.make(network, 2).network.parameters()))
    assert all(not a.equal(b) for a, b in zip(values, trained, strict=True))


def test_a_cell_measured_again_replaces_its_line(tmp_path):
    path = tmp_path / "cells.jsonl"
    for cell in (
        example_cell("resnet20"),
        example_cell(),
        example_cell(batch=16),
        example_cell(**{"SSVI 95 %": 1}),
    ):
        train_step.keep(path, cell)
    found = train_step.load(path)
    assert [(c["network"], c["batch"]) for c in found] == [("mlp", 16), ("mlp", 128), ("resnet20", 128)]
    assert found[1]["steps"]["SSVI 95 %"]["median"] == 1e-3


def test_the_kernel_choice_applies_only_inside_a_step(monkeypatch):
    row = contestants.ssvi(Problem.make("lenet5", 2), 0.05, kernels="torch")
    seen = []
    row.after = lambda: seen.append(os.environ.get(dispatch.VARIABLE))
    monkeypatch.delenv(dispatch.VARIABLE, raising=False)
    row.step()
    assert dispatch.VARIABLE not in os.environ
    row.kernels = None
    monkeypatch.setenv(dispatch.VARIABLE, "cpp")
    with contestants.asking_for("torch"):
        assert os.environ[dispatch.VARIABLE] == "torch"
    assert os.environ[dispatch.VARIABLE] == "cpp"
    with contestants.asking_for(None):
        assert os.environ[dispatch.VARIABLE] == "cpp"
    assert seen == ["torch"]


def test_names_of_densities():
    assert [ssvi_name(d) for d in (1.0, 0.1, 0.05, 0.02, 0.01)] == [
        "SSVI 0 %", "SSVI 90 %", "SSVI 95 %", "SSVI 98 %", "SSVI 99 %"
    ]  # fmt: skip
