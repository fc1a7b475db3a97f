"""Tables with several targets: regression with one noise per target, or multilabel classification."""

import csv
import dataclasses
import io
import json
import math
import random
import shutil

import numpy as np
import pytest
import torch
from cli_tools import szilard
from hypothesis import given, settings
from hypothesis import strategies as st

from szilard import data, methods, metrics, networks
from szilard.data import targets
from szilard.data.table_reading import read_table
from szilard.errors import SzilardError, SzilardWarning
from szilard.file.error import SzilardFileError
from szilard.likelihood import NoisyGaussian
from szilard.metrics import Predictive
from szilard.model import evaluate, saved_network
from szilard.training import divergence, imbalance

pytestmark = pytest.mark.pictures

FIT = (
    "--network",
    "mlp:16",
    "--epochs",
    "12",
    "--samples",
    "8",
    "--accelerator",
    "cpu",
    "--no-baselines",
    "-q",
)
QUANTITIES, LABELS = "height,price", 'rain,wind,"sun, high"'


def write(path, header, rows):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def bodies(path, n=160):
    r = random.Random(0)
    rows = []
    for _ in range(n):
        a, b, colour = r.gauss(0, 1), r.gauss(0, 1), r.choice(["red", "green"])
        height, price = 170 + 10 * a + r.gauss(0, 2), 1e5 * (b - a) + r.gauss(0, 1e4)
        rows.append([f"{a:.4f}", f"{b:.4f}", colour, f"{height:.2f}", f"{price:.1f}"])
    return write(path, ["a", "b", "colour", "height", "price"], rows)


def weather(path, n=160):
    r = random.Random(1)
    rows = []
    for _ in range(n):
        a, b = r.gauss(0, 1), r.gauss(0, 1)
        rows.append([f"{a:.4f}", f"{b:.4f}", int(a > 0), str(b > 0.7), "yes" if a + b > 0 else "no"])
    return write(path, ["a", "b", "rain", "wind", "sun, high"], rows)


# -- reading target columns -----------------------------------------------------------------------------


@given(
    st.lists(st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1), min_size=1, unique=True)
)
def test_any_column_names_can_be_combined(tmp_path_factory, names):
    names = list(dict.fromkeys(name.strip() for name in names if name.strip()))
    table = dataclasses.replace(
        read_table(write(tmp_path_factory.mktemp("t") / "a.csv", ["a", "b"], [["1", "2"]])),
        names=(*names, "rest"),
    )
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(names)
    assert targets.chosen(table, text.getvalue()) == tuple(range(len(names)))


def test_regression_targets_are_standardised_separately(tmp_path):
    path = bodies(tmp_path / "b.csv")
    got = data.load(path, target=QUANTITIES)
    one = data.load(path, target="price", ignore=["height"])
    assert (got.task, got.targets, got.n_outputs, got.classes) == ("regression", ("height", "price"), 2, ())
    assert got.feature_names == one.feature_names == ("a", "b", "colour=green", "colour=red")
    assert torch.equal(got.train.y[:, 1], one.train.y)  # the same rows are in the same parts
    assert float(got.target_scale[1]) == pytest.approx(one.target_scale)
    assert torch.allclose(got.train.y.mean(0), torch.zeros(2), atol=1e-5)
    again = got.retargeted(0.0, 1.0)
    assert float(again.test.y[:, 0].mean()) == pytest.approx(170, abs=6)
    assert torch.allclose(again.retargeted(got.target_shift, got.target_scale).test.y, got.test.y, atol=1e-4)


def test_labels_may_be_words_and_splits_are_stratified(tmp_path):
    path = weather(tmp_path / "w.csv")
    got = data.load(path, target=LABELS)
    assert (got.task, got.targets, got.n_outputs) == ("multilabel", ("rain", "wind", "sun, high"), 3)
    assert got.train.y.dtype is torch.int64
    whole = torch.cat([part.y for part in (got.train, got.valid, got.test)]).double()
    for part in (got.train, got.valid, got.test):
        assert torch.allclose(part.y.double().mean(0), whole.mean(0), atol=0.08)
    alone = data.load(path, target="wind", ignore=["sun, high"], task="multilabel")
    assert (alone.n_outputs, alone.train.y.shape[1]) == (1, 1)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"target": "height,colour"}, "'colour' of .* is text, such as '(red|green)' in line 2"),
        ({"target": "height,height"}, "names column 'height' twice"),
        ({"target": "height,prise"}, "no column 'prise'.* perhaps 'price'"),
        ({"target": ","}, "--target names no column"),
        ({"target": ""}, "--target names no column"),
        ({"target": "a,b,colour,height,price"}, "has only the 5 columns to predict"),
        ({"target": QUANTITIES, "task": "classification"}, "classification is for one target"),
        ({"target": QUANTITIES, "task": "multilabel"}, "line 2, column 'height'.* must be 0 or 1"),
        (
            {"target": QUANTITIES, "ignore": ["price"]},
            "'price' of .* is a target and cannot also be named with --ignore",
        ),
        (
            {"target": QUANTITIES, "group": "height"},
            "'height' of .* is a target and cannot also be named with --group",
        ),
    ],
)
def test_invalid_targets_are_refused(tmp_path, options, match):
    with pytest.raises(SzilardError, match=match):
        data.load(bodies(tmp_path / "b.csv", 40), **options)


def test_mixed_targets_and_constant_labels_are_refused(tmp_path):
    rows = [[i / 7, i % 2, i * 1.5, 0] for i in range(40)]
    path = write(tmp_path / "m.csv", ["x", "label", "amount", "never"], rows)
    with pytest.raises(
        SzilardError, match=r"labels, such as 'label' of .*, and quantities, such as 'amount'"
    ):
        data.load(path, target="label,amount")
    assert data.load(path, target="label,amount", ignore=["never"], task="regression").task == "regression"
    with pytest.raises(SzilardError, match=r"target 'never' of m.csv is 0 in every training row"):
        data.load(path, target="label,never", ignore=["amount"])


def test_ambiguous_targets_are_warned_about(tmp_path):
    rows = [[i / 7, i % 3, (i * 7) % 5, i % 2, 1 - i % 2] for i in range(40)]
    path = write(tmp_path / "m.csv", ["x", "c", "d", "p", "q"], rows)
    with pytest.warns(SzilardWarning, match="'c', 'd' of .* few different whole numbers"):
        assert data.load(path, target="c,d").task == "regression"
    with pytest.warns(SzilardWarning, match="exactly one of 2 labels is 1"):
        assert data.load(path, target="p,q").task == "multilabel"


def test_rows_with_missing_targets_are_left_out(tmp_path):
    path = bodies(tmp_path / "b.csv", 60)
    lines = path.read_text().splitlines()
    lines[5] = ",".join([*lines[5].split(",")[:4], ""])
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(SzilardError, match=r"line 6, column 'price' of .* is missing"):
        data.load(path, target=QUANTITIES)
    with pytest.warns(SzilardWarning, match="1 of 60 rows"):
        got = data.load(path, target=QUANTITIES, missing="mean")
    assert sum(map(len, (got.train, got.valid, got.test))) == 59


def test_arrays_with_several_targets(tmp_path):
    r = np.random.default_rng(0)
    x = r.normal(size=(60, 3))
    labels = (r.random((60, 2)) > 0.5).astype(np.float32)
    for y, task in (
        (labels, "multilabel"),
        (labels.astype(bool), "multilabel"),
        (r.normal(size=(60, 2)), "regression"),
    ):
        np.savez(tmp_path / "a.npz", x=x, y=y)
        got = data.load(tmp_path / "a.npz")
        assert (got.task, got.targets, got.n_outputs) == (task, ("y0", "y1"), 2)
    np.savez(tmp_path / "a.npz", x=x, y=r.integers(0, 5, (60, 2)))
    with pytest.raises(SzilardError, match="2 columns of whole numbers other than 0 and 1"):
        data.load(tmp_path / "a.npz")
    assert data.load(tmp_path / "a.npz", task="regression").n_outputs == 2
    np.savez(tmp_path / "a.npz", x=x, y=r.integers(0, 2, 60))
    assert data.load(tmp_path / "a.npz", task="multilabel").train.y.shape[1] == 1


# -- metrics --------------------------------------------------------------------------------------------


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 4))
def test_metrics_by_target_equal_those_of_each_target_alone(seed, k):
    draws = torch.Generator().manual_seed(seed)
    means, y = torch.randn(3, 30, k, generator=draws), torch.randn(30, k, generator=draws)
    variances = torch.rand(3, 30, k, generator=draws) + 0.1
    scales = torch.rand(k, generator=draws, dtype=torch.float64) * 100 + 0.01
    predictive = Predictive.from_gaussian(means, variances)
    rows = metrics.by_target(predictive, y, scales)
    for n, row in enumerate(rows):
        one, scale = Predictive.from_gaussian(means[..., n], variances[..., n]), float(scales[n])
        alone = metrics.evaluate(one, y[:, n], target_scale=scale)
        for key in ("rmse", "nll", "coverage95", "aleatoric", "epistemic"):
            assert getattr(row, key) == pytest.approx(alone[key])
        error = (means[..., n].mean(0) - y[:, n]).double()
        assert row.r2 == pytest.approx(
            1 - float(error.square().mean() / y[:, n].double().var(correction=0)), abs=1e-5
        )
    found = metrics.evaluate(predictive, y, target_scale=scales)
    assert set(found) == {"r2", "nll", "coverage95"}
    for key, value in found.items():
        assert value == pytest.approx(sum(getattr(row, key) for row in rows) / k)


def test_intervals_by_target_contain_the_metrics():
    draws = torch.Generator().manual_seed(0)
    y = torch.randn(30, 2, generator=draws)
    predictive = Predictive.from_gaussian(torch.randn(2, 30, 2, generator=draws), torch.ones(2, 30, 2))
    scales = torch.tensor([2.0, 100.0])
    found = metrics.evaluate(predictive, y, target_scale=scales)
    for key, (low, high) in metrics.several_intervals(predictive, y, scales).items():
        assert low <= found[key] <= high
    for row in metrics.by_target(predictive, y, scales, few=True):
        for key, (low, high) in row.intervals.items():
            assert low <= getattr(row, key) <= high


def test_intervals_by_label_contain_the_metrics():
    draws = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 40, 3, generator=draws)
    y = (torch.rand(40, 3, generator=draws) < logits.mean(0).sigmoid()).long()
    predictive = Predictive.from_binary_logits(logits)
    found, ends = metrics.evaluate(predictive, y), metrics.several_intervals(predictive, y, torch.ones(1))
    assert {"accuracy", "accuracy_all", "nll", "brier", "ece"} <= set(ends)
    for key, (low, high) in ends.items():
        assert low - 1e-6 <= found[key] <= high + 1e-6, key
    rows = metrics.by_label(predictive, y)
    assert [row.examples for row in rows] == y.sum(0).tolist()
    right = sum((row.recall or 0) * row.examples for row in rows)
    assert right == pytest.approx(float((predictive.labels * y).sum()))


def test_invalid_target_scales_are_refused():
    predictive = Predictive.from_gaussian(torch.zeros(1, 4, 2), torch.ones(1, 4, 2))
    for scales in (torch.ones(3), torch.tensor([1.0, 0.0]), torch.tensor([1.0, math.inf])):
        with pytest.raises(SzilardError, match="target_scale"):
            metrics.evaluate(predictive, torch.zeros(4, 2), target_scale=scales)


def test_the_nll_of_the_best_constant_prediction(tmp_path):
    got = data.load(weather(tmp_path / "w.csv"), target=LABELS)
    p = (got.train.y.double().sum(0) + 1) / (len(got.train) + 2)
    share = got.train.y.double().mean(0)
    wanted = -(share * p.log() + (1 - share) * (1 - p).log()).mean()
    assert divergence.constant_nll(got, got.train) == pytest.approx(float(wanted))
    got = data.load(bodies(tmp_path / "b.csv"), target=QUANTITIES)
    assert divergence.constant_nll(got, got.train) == pytest.approx(
        0.5 * math.log(2 * math.pi) + 0.5, abs=1e-4
    )


def test_a_plain_network_of_several_targets_is_measured_with_estimated_noise(tmp_path):
    got = data.load(bodies(tmp_path / "b.csv"), target=QUANTITIES)
    network = networks.build("mlp:4", got.input_shape, got.n_outputs)
    quality, _ = evaluate.measure(network, got)
    assert set(quality) == {"r2", "nll", "coverage95"}
    with torch.no_grad():
        residual = (network(got.valid.x) - got.valid.y).square().mean(0).sqrt()
        noisy = evaluate.with_noise(network, got)(got.valid.x[:1])
    assert torch.allclose(noisy[0, 2:], residual.log(), atol=1e-5)
    with pytest.raises(SzilardError, match=r"classification, and b.csv is regression"):
        imbalance.weights("balanced", got)


# -- the command line -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("several")


@pytest.fixture(scope="module")
def quantities(folder):
    path = bodies(folder / "b.csv")
    typed = szilard(
        "fit", "--data", path, "--target", QUANTITIES, *FIT, "--density", "0.5", "--out", folder / "q"
    )
    assert typed.code == 0, typed.output
    return folder / "q"


@pytest.fixture(scope="module")
def labels(folder):
    path = weather(folder / "w.csv")
    typed = szilard(
        "fit", "--data", path, "--target", LABELS, *FIT, "--method", "deterministic", "--out", folder / "l"
    )
    assert typed.code == 0, typed.output
    return folder / "l"


def predictions(run, path):
    typed = szilard("predict", run, path)
    assert typed.code == 0, typed.output
    return list(csv.DictReader(io.StringIO(typed.stdout)))


def test_regression_targets_are_measured_and_predicted_in_their_units(quantities, folder):
    found = json.loads(szilard("measure", quantities, "--json", "--samples", "8").stdout)["networks"][0]
    result = json.loads((quantities / "ssvi" / "result.json").read_text())
    assert found["quality"] == pytest.approx(result["test"])
    assert result["targets"] == ["height", "price"]
    assert [row["target"] for row in found["by_target"]] == ["height", "price"]
    assert 1e4 < found["by_target"][1]["rmse"] < 2e5
    rows = predictions(quantities, folder / "b.csv")
    assert list(rows[0])[:2] == ["height", "height_std"]
    assert 140 < float(rows[0]["height"]) < 200
    saved = saved_network.load(quantities / "ssvi" / "network.pt")
    assert (saved.targets, saved.n_outputs) == (("height", "price"), 2)
    test = data.load(folder / "b.csv", target=QUANTITIES).test
    predictive = saved.method.predict(saved.network, test.x, samples=8)
    means = predictive.mean * saved.target_scale + saved.target_shift
    error = means - (test.y * saved.target_scale + saved.target_shift)
    for n, row in enumerate(found["by_target"]):
        assert float(error[:, n].square().mean().sqrt()) == pytest.approx(row["rmse"], rel=1e-4)
    assert "vertical axis: predicted value" in (quantities / "report.html").read_text()
    assert (quantities / "report.html").read_text().count("<h3>") >= 2


def test_columns_are_matched_by_name_and_targets_may_be_missing(quantities, folder):
    rows = list(csv.DictReader(io.StringIO((folder / "b.csv").read_text())))[:5]
    write(
        folder / "new.csv",
        ["colour", "b", "a"],
        [[row[name] for name in ("colour", "b", "a")] for row in rows],
    )
    assert predictions(quantities, folder / "new.csv") == predictions(quantities, folder / "b.csv")[:5]


def test_targets_are_matched_by_name_in_any_order(quantities, folder):
    usual = json.loads(szilard("measure", quantities, "--json", "--samples", "8").stdout)["networks"][0]
    network = quantities / "ssvi" / "network.pt"
    for name in (folder / "b.csv", shutil.copy(folder / "b.csv", folder / "copy.csv")):
        reordered = szilard(
            "measure", network, "--data", name, "--target", "price,height", "--json", "--samples", "8"
        )
        found = json.loads(reordered.stdout)["networks"][0]
        assert [row["target"] for row in found["by_target"]] == ["height", "price"]
        assert found["by_target"][1]["r2"] == pytest.approx(usual["by_target"][1]["r2"], abs=0.2)
    szilard("measure", network, "--data", folder / "b.csv", "--target", "height").refused(
        "name the same columns"
    )


def test_labels_are_measured_and_predicted(labels, folder):
    found = json.loads(szilard("measure", labels, "--json").stdout)["networks"][0]
    assert found["quality"]["accuracy_by_label"] > 0.65
    assert [row["class"] for row in found["by_class"]] == ["rain", "wind", "sun, high"]
    assert "accuracy_by_label" in found["intervals"]
    rows = predictions(labels, folder / "w.csv")
    assert {"rain", "wind", "sun, high", "rain_entropy"} <= set(rows[0])
    truth = list(csv.DictReader(io.StringIO((folder / "w.csv").read_text())))
    right = [
        (float(one["rain"]) > 0.5) == (other["rain"] == "1") for one, other in zip(rows, truth, strict=True)
    ]
    assert sum(right) > 0.8 * len(right)


def test_a_run_is_resumed_and_replayed(labels, folder):
    before = (labels / "deterministic" / "result.json").read_bytes()
    assert szilard("fit", "--out", labels, "--resume", "-q").code == 0
    assert (labels / "deterministic" / "result.json").read_bytes() == before
    assert szilard("fit", labels / "run.toml", "--out", folder / "again", "-q").code == 0
    assert (
        json.loads((folder / "again" / "deterministic" / "result.json").read_text())["test"]
        == json.loads(before)["test"]
    )


def test_an_interrupted_run_of_several_targets_resumes_bit_for_bit(tmp_path, monkeypatch):
    from szilard import fit
    from szilard.training import loop

    got = data.load(bodies(tmp_path / "b.csv", 60), target=QUANTITIES)

    def train(out, **how):
        return fit(
            methods.SSVI(len(got.train), density=0.5, every=3), "mlp:8", got, epochs=4, batch_size=16, samples=2,
            out=out, progress=False, accelerator="cpu", checkpoint_steps=1, **how,
        )  # fmt: skip

    whole = train(tmp_path / "whole")
    step = loop.Loop._step

    def stops(self, x, y):
        if self.method.step == 7:
            raise RuntimeError("stopped")
        step(self, x, y)

    monkeypatch.setattr(loop.Loop, "_step", stops)
    with pytest.raises(RuntimeError, match="stopped"):
        train(tmp_path / "part")
    monkeypatch.setattr(loop.Loop, "_step", step)
    resumed = train(tmp_path / "part", resume=True)
    assert resumed.test == whole.test
    for one, other in zip(
        whole.network.state_dict().values(), resumed.network.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other)


@pytest.mark.slow
def test_runs_of_both_kinds_are_compressed(quantities, labels, folder):
    for run, name, score in ((quantities, "b.csv", "R²"), (labels, "w.csv", "accuracy by label")):
        out = folder / f"{run.name}.szd"
        made = json.loads(szilard("compress", run, "-o", out, "--json", "--lam", "1e-5").stdout)
        assert made["measure"] == score
        assert list(predictions(out, folder / name)[0]) == list(predictions(run, folder / name)[0])
        figures = json.loads(szilard("measure", out, "--json", "--samples", "8").stdout)["networks"][0][
            "quality"
        ]
        key = "r2" if score == "R²" else "accuracy_by_label"
        assert figures[key] == pytest.approx(made["test_after"], abs=1e-3)


def test_a_network_that_does_not_fit_is_refused_before_writing(folder):
    (folder / "net.py").write_text(
        "from torch import nn\ndef build(input_shape, n_outputs):\n    return nn.Linear(input_shape[0], 1)\n"
    )
    for name, target, wanted in (
        ("b.csv", QUANTITIES, r"\[B, 2\], or \[B, 4\]"),
        ("w.csv", LABELS, r"\[B, 3\]"),
    ):
        bodies(folder / "b.csv") if name == "b.csv" else weather(folder / "w.csv")
        typed = szilard("fit", "--data", folder / name, "--target", target, "--network", f"{folder / 'net.py'}:build",
                        "--out", folder / "none")  # fmt: skip
        typed.refused(wanted, behind=f"{name}: ")
    assert not (folder / "none").exists()


def test_a_file_with_inconsistent_targets_is_refused(quantities, tmp_path):
    content = torch.load(quantities / "ssvi" / "network.pt", weights_only=True)
    for change in (
        {"targets": ["height"]},
        {"target_scale": [1.0]},
        {"target_scale": 1.0},
        {"target_shift": [1.0, math.nan]},
        {"targets": [1, 2]},
        {"task": "multilabel"},
        {"n_outputs": 1},
    ):
        torch.save({**content, **change}, tmp_path / "network.pt")
        with pytest.raises(SzilardFileError):
            saved_network.load(tmp_path / "network.pt")


def test_a_likelihood_of_several_targets_has_a_scale_for_each():
    y = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 10.0, 100.0])
    likelihood = NoisyGaussian.of(y)
    assert likelihood.outputs == 3
    perfect = torch.cat([y, torch.zeros(50, 3)], 1)
    assert float(likelihood.values(perfect, y).mean()) == pytest.approx(1)
    constant = torch.cat([y.mean(0).expand(50, 3), torch.zeros(50, 3)], 1)
    assert float(likelihood.values(constant, y).mean()) == pytest.approx(0, abs=1e-5)
