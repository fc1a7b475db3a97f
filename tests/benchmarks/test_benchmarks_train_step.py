"""The benchmark of training steps: what it times, what it counts, what it says."""

import functools
import json
import os

import pytest

import train_step
from szilard import bayes
from szilard.cost import interleave
from szilard.kernels import dispatch
from training import contestants, memory, peers
from training.contestants import DETERMINISTIC, MEAN_FIELD, Problem, ssvi_name


@pytest.fixture(scope="module")
def cell():
    """Three rounds and a budget for any machine: what can be afforded is no matter of its speed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_step, "interleave", functools.partial(interleave.interleave, most_rounds=3))
        return train_step.measure("lenet5", 2, 1, [0.05], budget=1e9, amortised=[0.05], quick=True)


def test_every_row_is_timed_and_prints(cell):
    rows = list(cell["steps"])
    assert rows[0] == DETERMINISTIC
    assert {MEAN_FIELD, "SSVI 95 %", "masked-dense SSVI 95 %"} < set(rows)
    assert set(cell["intervals"]) == {DETERMINISTIC, "SSVI 95 %"}
    for row in cell["steps"].values():
        assert 0 < row["low"] <= row["median"] <= row["high"]
    assert [len(line) for line in train_step.body(cell)] == [len(train_step.COLUMNS)] * len(rows)
    assert all(len(line) == len(train_step.MEMORY_COLUMNS) for line in train_step.memory_body(cell))
    assert json.loads(json.dumps(cell)) == cell


def test_quick_runs_no_interval_that_it_cannot_afford():
    cell = train_step.measure("lenet5", 2, 1, [0.05], budget=0.0, amortised=[0.05], quick=True)
    assert cell["intervals"] == {}
    assert train_step.ratio(cell, "SSVI 95 %", kind="intervals") is None
    assert len(train_step.body(cell)) == len(cell["steps"])


def test_ordinary_steps_never_listen_and_intervals_move_once():
    row = contestants.ssvi(Problem.make("lenet5", 2), 0.05)
    supports = [weight.support for weight in bayes.weights(row.network).values()]
    before = [support.flat() for support in supports]
    for _ in range(60):
        row.ordinary_step()
        assert not row.method.moves.listening
    assert all(a.equal(support.flat()) for a, support in zip(before, supports, strict=True))
    assert memory.growth(row) > 0  # takes a whole interval
    changed = [not a.equal(support.flat()) for a, support in zip(before, supports, strict=True)]
    assert changed == [not support.is_full for support in supports]


@pytest.mark.parametrize("density", [0.05, 0.5])
def test_memory_is_that_of_the_existing_entries(density):
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


def made_up(network="mlp", batch=128, threads=1, **ms):
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
    found = train_step.figures([made_up(), made_up("resnet20"), made_up(batch=16, threads=2)])
    assert found["mlp_ssvi95_vs_deterministic"] == 0.4
    assert found["mlp_ssvi95_vs_fastest_deterministic"] == 0.5
    assert found["resnet20_ssvi95_vs_deterministic"] == 0.4
    assert found["mlp_ssvi95_vs_deterministic_b16_t2"] == 0.4
    assert found["mlp_ssvi95_memory_vs_mean_field"] == 0.07
    assert found["mlp_ssvi95_memory_with_growth_batches_vs_mean_field"] == 0.2
    assert found["mlp_ssvi95_vs_bayesian_torch"] is None
    peer = train_step.figures([made_up(**{"bayesian-torch": 80})])
    assert peer["mlp_ssvi95_vs_bayesian_torch"] == 0.05
    assert peer["resnet20_ssvi95_vs_deterministic"] is None


def test_losses_are_told():
    won, lost = made_up(), made_up("lenet5", **{"SSVI 95 %": 9})
    assert train_step.losses([won, lost]) == [["lenet5", "128", "1", "5", "0.900", "1.125"]]


def test_a_missing_peer_costs_its_row_only(monkeypatch, capsys):
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
    for cell in (made_up("resnet20"), made_up(), made_up(batch=16), made_up(**{"SSVI 95 %": 1})):
        train_step.keep(path, cell)
    found = train_step.load(path)
    assert [(c["network"], c["batch"]) for c in found] == [("mlp", 16), ("mlp", 128), ("resnet20", 128)]
    assert found[1]["steps"]["SSVI 95 %"]["median"] == 1e-3


def test_kernels_are_asked_for_inside_a_step_only(monkeypatch):
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


def test_density_names():
    assert [ssvi_name(d) for d in (1.0, 0.1, 0.05, 0.02, 0.01)] == [
        "SSVI 0 %", "SSVI 90 %", "SSVI 95 %", "SSVI 98 %", "SSVI 99 %"
    ]  # fmt: skip
