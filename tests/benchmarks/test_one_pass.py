"""The benchmark of predictions in one pass, on small networks."""

import json
import math

import pytest
import torch

import one_pass
import render
from pages import results
from prediction import agreement, contestants, latency, quality
from prediction.trained import Case, trained
from szilard import data, deploy, methods, networks
from szilard.cost.interleave import Summary

CASE = Case(
    "digits", "mlp:16", method="mean-field", ood="photographs", quick_steps=400, images=40, quick_images=40
)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    part = data.load("digits")
    return trained(CASE, part, cache, quick=True), part, cache


def test_a_trained_network_is_read_from_the_cache(small, monkeypatch):
    first, part, cache = small
    monkeypatch.setattr("prediction.trained._train", lambda *_: pytest.fail("it trained again"))
    again = trained(CASE, part, cache, quick=True)
    x = first.test.x
    assert torch.equal(
        first.method.predict(first.network, x, 2).mean, again.method.predict(again.network, x, 2).mean
    )
    assert not again.network.training


def test_quality_of_one_pass_beside_draws(small):
    row = quality.measured(small[0], draws=30)
    assert all(0 < row[way]["mutual_information"] < math.log(10) for way in quality.WAYS)
    assert row["draws"]["accuracy"] > 0.5
    assert quality.gap(row, "accuracy") < 0.2
    assert row["draws"]["nll"] != row["other draws"]["nll"]
    assert all(len(line) == len(quality.COLUMNS) for line in quality.body([row]))
    assert [line[2] for line in quality.body([row])][::2] == [
        "30 draws",
        "one pass",
        "one pass, matched to draws",
    ]
    found = quality.figures([row, row])
    assert found["max_accuracy_gap_pt"] == pytest.approx(100 * quality.gap(row, "accuracy"))
    assert json.loads(json.dumps(row)) == row


def made_up(value):
    return {"accuracy": value, "nll": value, "auroc_mutual_information": value}


def test_gaps_are_the_largest_of_all_networks():
    rows = [
        {"draws": made_up(0.5), "other draws": made_up(0.5), "one pass": made_up(0.51)},
        {"draws": made_up(0.5), "other draws": made_up(0.505), "one pass": made_up(0.47)},
    ]
    found = quality.figures(rows)
    assert found["max_accuracy_gap_pt"] == pytest.approx(3)
    assert found["max_nll_gap"] == found["max_auroc_gap"] == pytest.approx(0.03)
    assert found["max_auroc_loss"] == pytest.approx(0.03)  # not of the network whose one pass ranks better
    assert found["max_nll_gap_of_draws"] == pytest.approx(0.005)


def test_draws_in_turn_are_those_of_the_network(small):
    """Drawn before: exactly the draws of mode "samples". Drawn anew: the same mean and deviation."""
    one = small[0]
    x = one.test.x[:3]
    before = contestants.Sequential(one.network, drawn=True)
    wanted = deploy.compile(one.network, x, backend="eager", mode="samples", samples=contestants.DRAWS)(x)
    assert torch.allclose(before.full(x).answer, wanted.answer, atol=1e-6)
    torch.manual_seed(0)
    anew = contestants.Sequential(one.network, drawn=False)
    fresh = torch.cat([anew.bare(x) for _ in range(40)])
    known = before.bare(x)
    assert fresh.shape[1:] == known.shape[1:]
    error = known.std(0) * math.sqrt(1 / len(known) + 1 / len(fresh))
    assert ((fresh.mean(0) - known.mean(0)).abs() < 5 * error).all()
    assert 0.7 < float((fresh.std(0) / known.std(0)).log().mean().exp()) < 1.4


def test_a_bare_pass_returns_the_outputs(small):
    one = small[0]
    x = one.test.x[:2]
    full = deploy.compile(one.network, x, backend="eager", mode="moments")(x)
    mean, variance = contestants.bare(one.network, x, "eager", "moments")(x)
    assert torch.allclose(mean, full.mean)
    assert torch.allclose(variance, full.variance)
    (point,) = contestants.bare(one.network, x, "eager", "point")(x)
    assert torch.allclose(point, deploy.compile(one.network, x, backend="eager", mode="point")(x).mean)


@pytest.fixture(scope="module")
def rows(small):
    one = small[0]
    runtimes = {
        batch: {"eager": ("point", "moments", "samples"), "unknown": ("moments",)} for batch in (1, 2)
    }
    return latency.rows("MLP", one.network, one.test.x, (1, 2), runtimes, ("eager",), budget=0.0, longest=5.0)


def test_latency_rows(rows):
    assert "there is no backend" in next(
        row["left_out"] for row in rows if row["runtime"].startswith("unknown")
    )
    timed = [row for row in rows if "median" in row]
    assert {row["batch"] for row in timed} == {1, 2}
    assert all(0 < row["p10"] <= row["median"] <= row["p90"] for row in timed)
    assert {row["mode"] for row in timed if row["runtime"] == "eager"} == {"point", "moments", "samples"}
    assert all(len(line) == len(latency.COLUMNS) for line in latency.body(rows, "MLP"))
    assert latency.default_backend(rows, "MLP", 1) == "eager"
    assert latency.against_draws(rows, "MLP", 1, "eager", drawn=False) > 1


def test_what_takes_too_long_is_named_and_not_timed(small):
    one = small[0]
    found = latency.rows(
        "MLP", one.network, one.test.x, (1,), {1: {"eager": ("point",)}}, (), 0.0, longest=0.0
    )
    assert all("s a call" in row["left_out"] for row in found)
    assert latency.seconds(found, "MLP", 1, "eager", "point") is None


def test_differences_of_runtimes_are_found():
    one = deploy.Prediction(
        *(torch.zeros(2) for _ in range(3)), mean=torch.tensor([2.0]), variance=torch.tensor([4.0])
    )
    other = deploy.Prediction(
        torch.tensor([0.0, 0.25]),
        *(torch.zeros(2) for _ in range(2)),
        mean=torch.tensor([2.0]),
        variance=torch.tensor([3.0]),
    )
    found = agreement.differences(other, one)
    assert found == {"answer": 0.25, "aleatoric": 0.0, "epistemic": 0.0, "outputs": 0.25}
    assert agreement.largest([found, {"outputs": 0.5}]) == 0.5
    assert agreement.largest([]) is None


def test_native_sparse_and_dense_weights_agree():
    if "native" not in deploy.installed():
        pytest.skip("no C++ kernels")
    network = methods.make("ssvi", 100, density=0.1).prepare(networks.build("mlp:32", (20,), 10)).eval()
    x = torch.randn(1, 20)
    dense = contestants.native_dense(network, x, "moments")(x)
    assert torch.allclose(
        dense.answer, deploy.compile(network, x, backend="native", mode="moments")(x).answer, atol=1e-5
    )


def test_figures_of_a_section(rows, small):
    one = small[0]
    runtimes = {"eager": ("point",)}
    section = {
        "quality": [quality.measured(one, draws=4)], "latency": rows,
        "agreement": agreement.rows("MLP", one.network, one.test.x[:2], runtimes),
    }  # fmt: skip
    found = one_pass.figures(section)
    assert found["mlp_moments_vs_point"] > 0
    assert found["mlp_svi30_vs_moments"] > 1
    assert found["tvm_vs_onnxruntime"] is None
    assert found["max_backend_difference"] is None
    assert found["mlp1024_sparse95_native_vs_dense"] is None
    assert ["`tvm_vs_onnxruntime`", "not measured"] in one_pass.shown(found)


def test_inductor_is_left_to_full_runs_where_it_compiles_long():
    known = ["native", "onnx", "inductor", "eager"]
    assert "inductor" not in one_pass.runtimes("LeNet-5", 1, True, known)
    assert one_pass.runtimes("LeNet-5", 100, False, known)["inductor"] == one_pass.ALL_MODES
    assert one_pass.runtimes("MLP", 1, True, known)["native"] == ("point", "moments")


def test_tenths_of_a_summary():
    found = Summary.of([float(k) for k in range(11)])
    assert (found.p10, found.median, found.p90) == (1.0, 5.0, 9.0)
    assert Summary.of([3.0]) == Summary(3.0, 3.0, 3.0, 1, 3.0, 3.0)


def test_the_page_is_filled_from_the_results():
    if not (results.RESULTS / "one_pass.jsonl").exists():
        pytest.skip("no results")
    page = (results.ROOT / "docs" / "one_pass.md").read_text()
    assert render.filled(page) == page


def test_a_part_that_is_measured_again_replaces_rows_of_its_networks_only(tmp_path, monkeypatch, capsys):
    path = tmp_path / "one_pass.jsonl"
    first = {"network": "MLP", "batch": 1, "runtime": "eager", "mode": "moments", "part": "full", "median": 1.0,
             "p10": 1.0, "p90": 1.0, "readings": 3}  # fmt: skip
    other = {**first, "network": "LeNet-5"}
    monkeypatch.setattr(one_pass, "networks", lambda *_: [])
    monkeypatch.setattr(
        "sys.argv", ["one_pass.py", "--data-root", "x", "--only", "latency", "--results", str(path)]
    )
    for rows in ([[first], [other]], [[{**first, "median": 2.0}]]):
        monkeypatch.setitem(one_pass.MEASURE, "latency", lambda *_, rows=rows: iter(rows))
        one_pass.main()
    kept = json.loads(path.read_text())
    assert {row["network"]: row["median"] for row in kept["latency"]} == {"LeNet-5": 1.0, "MLP": 2.0}
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["benchmark"] == "one_pass"
    assert last["figures"]["mlp_moments_vs_point"] is None
