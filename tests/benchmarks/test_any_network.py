"""The report of ``compress`` agrees with the written file, for networks of every kind; false reports are detected."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

import any_network
import szilard
from szilard.compression import default_passes, shrink
from szilard.errors import SzilardError
from szilard.networks import copied
from zoo.case import COMPRESS, JUDGE, TRAIN, Data, judging, rows, score
from zoo.networks import ZOO
from zoo_compression import compress_cells, promise

SOME = (
    "MLP, BatchNorm1d",
    "bare parameters",
    "GRU",
    "EmbeddingBag",
    "MultiheadAttention",
    "weight norm",
    "prune",
    "a BatchNorm called twice",
    "a bias in two layers",
    "layers of unequal scales",
    "dead units",
    "one-hot labels",
    "several labels",
    "regression, six targets",
    "regression, without labels",
    "regression with noise",
    "unit vectors",
    "tuple of outputs",
    "float16",
    "float64",
    "odd names",
)
quiet = pytest.mark.filterwarnings("ignore::UserWarning")


# -- compress, save, load -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", SOME)
@quiet
def test_a_loaded_file_agrees_with_the_report(name):
    case = dataclasses.replace(ZOO[name], train=40)
    data = case.data()
    options = {"lam": 2e-6, "passes": default_passes()}
    made = compress_cells.compressed(case, case.trained(data), data, options)
    assert made.lam == 2e-6


def test_every_network_of_the_zoo_runs():
    assert len(ZOO) >= 50
    for case in ZOO.values():
        data = case.data()
        assert len(data.y) >= TRAIN + COMPRESS + JUDGE
        if case.name != "Lazy module":
            few = rows(judging(data).x, slice(0, 3))
            assert len(compress_cells.answer(case.fresh(), few)) == 3


def test_shrink_refuses_a_network_without_shapes():
    with pytest.raises(SzilardError, match=r"0\.weight has no shape yet"):
        shrink(nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.Linear(4, 2)))


@quiet
def test_shrink_leaves_a_network_with_random_outputs_unchanged():
    assert [cell.verdict for cell in compress_cells.cells(ZOO["random outputs"], ("shrink",))] == ["right"]


@pytest.mark.parametrize("name", ["random outputs", "NaN in a weight", "Lazy module"])
@quiet
def test_networks_that_cannot_be_compressed_are_refused_with_a_message(name):
    for cell in compress_cells.cells(ZOO[name], ("data", "no data")):
        assert cell.verdict == "refused"
        assert cell.message


# -- faults are detected ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mlp():
    case = dataclasses.replace(ZOO["MLP"], train=40)
    data = case.data()
    return case, case.trained(data), data


FALSE_REPORTS = {
    "a score": lambda made: dataclasses.replace(made, score=made.score + 0.01),
    "the original's score": lambda made: dataclasses.replace(made, original_score=made.original_score + 0.01),
    "other outputs": lambda made: dataclasses.replace(made, network=nn.Sequential(made.network, nn.Tanh())),
}


@pytest.mark.parametrize("fault", FALSE_REPORTS)
def test_a_false_report_is_judged_wrong(mlp, fault, monkeypatch):
    true = szilard.compression.compress

    def false(network, *given, **options):
        return FALSE_REPORTS[fault](true(network, *given, lam=1e-6, passes=default_passes()))

    monkeypatch.setattr(compress_cells.szilard, "compress", false)
    assert compress_cells.cell(*mlp, "data").verdict == "wrong"


def test_a_modified_original_and_a_file_too_large_are_judged_wrong(mlp, monkeypatch):
    case, network, data = mlp
    true = szilard.compression.compress

    def careless(given, *rest, **options):
        made = true(given, *rest, lam=1e-9, passes=default_passes())
        if "max_bytes" not in options:
            with torch.no_grad():
                given[0].bias.add_(1)
        return made

    monkeypatch.setattr(compress_cells.szilard, "compress", careless)
    with pytest.raises(compress_cells.Wrong, match="10 were asked for"):
        compress_cells.compressed(case, network, data, {"max_bytes": 10})
    assert "was changed" in compress_cells.cell(case, copied(network), data, "data").message


@pytest.mark.parametrize(
    ("error", "verdict"),
    [(SzilardError("one sentence"), "refused"), (SzilardError(" "), "wrong"), (KeyError("x"), "crashed")],
)
def test_the_verdict_on_an_exception(mlp, error, verdict, monkeypatch):
    def fails(*given, **options):
        raise error

    monkeypatch.setattr(compress_cells.szilard, "compress", fails)
    assert compress_cells.cell(*mlp, "data").verdict == verdict


def test_accepting_a_case_that_must_be_refused_is_judged_wrong(mlp):
    case, network, data = mlp
    assert (
        compress_cells.cell(dataclasses.replace(case, refusal=True), network, data, "no data").verdict
        == "wrong"
    )


def test_a_reported_error_may_be_off_by_a_factor_of_two():
    messages = ["outputs on random inputs differ by 6.1 % (relative)", "3 tensors keep their bytes"]
    assert compress_cells.admitted(0.12, messages)
    assert not compress_cells.admitted(0.13, messages)
    assert compress_cells.admitted(2.1, ["outputs on random inputs differ by 1.1e+02 % (relative)"])
    assert not compress_cells.admitted(0.12, ["judged on 100 % of them"])


def test_scores_have_known_values():
    y = torch.tensor([[0.0, 0.0], [2.0, 4.0]])
    data = Data(y, y, "regression")
    assert score(data, torch.tensor([[1.0, 0.0], [2.0, 4.0]]), y) == pytest.approx(0.75)
    labels = Data(y, torch.tensor([0, 1]), "class")
    assert score(labels, torch.tensor([[1.0, 0.0], [1.0, 0.0]]), y) == 0.5
    vectors = Data(y, y, "embedding", given=False)
    assert score(vectors, torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]])) == pytest.approx(2**-0.5)


def test_rows_and_keys_of_the_benchmark():
    cells = [
        compress_cells.Cell("a", "data", "right", "", 1234, 0.0).to_json(),
        compress_cells.Cell("a", "no data", "refused", "12 examples are too few").to_json(),
        compress_cells.Cell("b", "data", "refused", "7 examples are too few").to_json(),
        compress_cells.Cell("b", "no data", "wrong", "score").to_json(),
    ]
    found = any_network.figures({"zoo": cells})
    assert (found["cells"], found["right"], found["refused"], found["wrong"], found["crashed"]) == (
        4,
        1,
        2,
        1,
        0,
    )
    assert found["promise_kept_percent"] is None
    assert found["minilm_vs_rounding"] is None
    assert any_network.zoo_body(cells)[0][:3] == ["a", "1,234", "refused"]
    assert [row[1] for row in any_network.reasons(cells)] == ["2"]


def test_promises_are_checked_on_new_examples():
    rows = [
        {"task": "t", "promised": {"bytes": 110, "drop": 0.01}, "today": {"bytes": 100, "drop": 0.02}},
        {"task": "t", "promised": {"bytes": 130, "drop": 0.011}, "today": {"bytes": 100, "drop": 0.0}},
        {"task": "t", "promised": {"refused": "no"}, "today": {"bytes": 100, "drop": 0.0}},
    ]
    found = promise.figures(rows)
    assert found["promise_kept_percent"] == 50
    assert found["promise_cost_percent"] == 20
    assert found["promise_refused"] == 1
    assert all(len(line) == len(promise.COLUMNS) for line in promise.body(rows))


@pytest.mark.parametrize("task", promise.TASKS)
def test_splits_are_disjoint(task):
    if task != "mixture":
        pytest.importorskip("sklearn")
    found = promise.split(task, 3)
    parts = [{row.tobytes() for row in part[0].numpy()} for part in (found.train, found.judge, found.fresh)]
    assert not parts[2] & parts[1]
    assert not parts[2] & parts[0]
