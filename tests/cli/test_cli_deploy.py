"""szilard deploy: one file for a runtime, which answers as szilard predict does."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from cli_tools import TINY, szilard

from szilard import SzilardError, SzilardWarning, data, deploy
from szilard.bayes import bayesianize
from szilard.cli import deployment, deployment_summary
from szilard.methods.one_pass import RatioToDraws
from szilard.training import load_network

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.usefixtures("one_registry")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "digits"
    typed = szilard(
        "fit",
        *TINY,
        "--epochs",
        8,
        "--lr",
        0.02,
        "--density",
        0.8,
        "--method",
        "ssvi",
        "--out",
        out,
        "--quiet",
    )
    assert typed.code == 0, typed.output
    return out


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A run on a table whose inputs and targets are far from mean zero."""
    folder = tmp_path_factory.mktemp("runs")
    lines = ["size,age,price"] + [
        f"{500 + 40 * (i % 9)},{i % 7},{1000.5 + 300 * (i % 9) - 50 * (i % 7)}" for i in range(150)
    ]
    (folder / "old.csv").write_text("\n".join(lines))
    (folder / "new.csv").write_text("size,age\n580,2\n700,5\n")
    typed = szilard(
        "fit", "--data", folder / "old.csv", "--target", "price", "--network", "mlp:16", "--density", 1, "--epochs", 25,
        "--lr", 0.02, "--no-baselines", "--out", folder / "run", "--quiet",
    )  # fmt: skip
    assert typed.code == 0, typed.output
    return folder


def answers(path, x: np.ndarray) -> dict[str, np.ndarray]:
    """What a program with ONNX Runtime and without szilard gets."""
    session = onnxruntime.InferenceSession(str(path))
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"x": x}), strict=True))


def column(text: str, name: str) -> np.ndarray:
    return np.array([float(row[name]) for row in csv.DictReader(io.StringIO(text))])


def test_classes_with_uncertainty(digits, tmp_path):
    typed = szilard("deploy", digits, "-o", tmp_path / "digits.onnx")
    assert typed.code == 0, typed.output
    assert "moments (mean and variance in one pass)" in typed.stdout
    assert "inputs of the test split" in typed.stdout
    assert "this is the one of ssvi; choose another with --method" in " ".join(typed.output.split())
    loaded = data.load("digits", n_train=100)
    x = loaded.raw(loaded.test.x)[:40].numpy()
    found = answers(tmp_path / "digits.onnx", x)
    saved = load_network(digits / "ssvi" / "network.pt")
    wanted = saved.method.predict_one_pass(saved.network, loaded.test.x[:40])
    np.testing.assert_allclose(found["answer"].max(1), wanted.max_probability().numpy(), atol=1e-4)
    np.testing.assert_allclose(found["epistemic"], wanted.epistemic().numpy(), atol=1e-4)
    np.testing.assert_allclose(found["aleatoric"], wanted.aleatoric().numpy(), atol=1e-4)
    opened = deploy.load(tmp_path / "digits.onnx")
    assert opened.labels == tuple("0123456789")
    assert opened.metadata["task"] == "classification"
    assert opened.metadata["inputs"] == "float32 [B, 1, 8, 8]: images with values from 0 to 1"
    assert opened.image_range == (0.0, 1.0)
    with pytest.raises(SzilardError, match="the training images have values in"):
        opened(x * 255)
    assert typed.stdout.count(" in the runtime alone (") == 2


def test_values_in_the_units_of_the_table(table, tmp_path, monkeypatch):
    monkeypatch.setattr(
        deployment_summary, "_FAST", ()
    )  # no second file, of the mean network, to compare its speed
    typed = szilard("deploy", table / "run", "-o", tmp_path / "price.onnx")
    assert typed.code == 0, typed.output
    predicted = szilard("predict", table / "run", table / "new.csv", "--one-pass").stdout
    found = answers(tmp_path / "price.onnx", np.array([[580, 2], [700, 5]], np.float32))
    np.testing.assert_allclose(found["answer"], column(predicted, "mean"), rtol=1e-4)
    np.testing.assert_allclose(np.sqrt(found["epistemic"]), column(predicted, "epistemic_std"), rtol=1e-3)
    np.testing.assert_allclose(np.sqrt(found["aleatoric"]), column(predicted, "aleatoric_std"), rtol=1e-3)
    assert found["answer"].min() > 900
    metadata = deploy.load(tmp_path / "price.onnx").metadata
    assert json.loads(metadata["features"]) == ["size", "age"]
    assert json.loads(metadata["target"]) == ["price"]
    assert "fill" not in metadata
    saved = load_network(table / "run" / "ssvi" / "network.pt")
    filling = replace(saved, reading=replace(saved.reading, missing="mean"))
    assert deployment._fill(filling) == pytest.approx(saved.shift.flatten().tolist())


def test_one_pass_is_compared_with_draws_and_matched_to_them(digits, monkeypatch):
    typed = ("deploy", digits, "--backend", "eager")
    plain = json.loads(szilard(*typed, "--json").stdout)
    assert plain["variance_factor"] == 1
    assert 0.2 < plain["epistemic_ratio"] < 2
    assert 0 < plain["epistemic_ratio_error"] < 0.3
    assert plain["epistemic_inputs"] == 64
    assert plain["epistemic_draws"] > 50  # the network is small

    # Its difference from draws is that of their noise.
    assert abs(plain["epistemic_ratio"] - 1) < 2 * plain["epistemic_ratio_error"]
    alone = json.loads(szilard(*typed, "--match-draws", "--json").stdout)
    assert (alone["variance_factor"], alone["epistemic_ratio"]) == (1, plain["epistemic_ratio"])
    text = szilard(*typed, "--match-draws").stdout
    assert "variance not multiplied: the difference is within the error of the draws" in " ".join(
        text.split()
    )

    monkeypatch.setattr(RatioToDraws, "is_noise", False)
    matched = json.loads(szilard(*typed, "--match-draws", "--json").stdout)
    assert matched["variance_factor"] != 1
    error = matched["epistemic_ratio_error"]
    # Other inputs and other draws than those of the factor, which has an error, too.
    assert matched["epistemic_ratio"] == pytest.approx(1, abs=4 * 2**0.5 * error)


def test_too_little_uncertainty_is_a_warning(digits, monkeypatch):
    from szilard.cli import deployed_uncertainty

    found = deploy.DrawsComparison(0.01, 0.01, draws=0.1, ratio_error=0.01, factor=12.0, inputs=64, count=50)
    monkeypatch.setattr(deployed_uncertainty, "compare_with_draws", lambda *_, **__: found)
    typed = szilard("deploy", digits, "--backend", "eager")
    assert "0.10 ±0.01 of that of 50 draws" in typed.stdout
    assert "too little epistemic uncertainty" in " ".join(typed.stdout.split())
    assert "--match-draws" in typed.stdout


def test_what_has_no_comparison_says_so(digits, monkeypatch):
    from szilard.cli import deployed_uncertainty

    monkeypatch.setattr(deployment_summary, "_BUDGET", 0.01)
    with pytest.warns(SzilardWarning, match="one draw has no epistemic") as warned:
        szilard("deploy", digits, "--backend", "eager", "--samples", 1, "--batch", 256)
    assert sum("one draw" in str(one.message) for one in warned) == 1
    made = deploy.compile(
        bayesianize(torch.nn.Linear(4, 3), density=1.0).eval(), torch.zeros(2, 4), backend="eager"
    )
    ((note,),) = deployed_uncertainty.notes({"decisions": made.decisions, "mode": made.mode})
    assert "was not compared with that of draws, which needs data" in note


def test_an_ensemble_of_bayesian_networks_is_compared_and_matched(digits, monkeypatch):
    from szilard.cli import deployed_uncertainty

    monkeypatch.setattr(deployment_summary, "_BUDGET", 0.01)
    file = digits / "ssvi" / "network.pt"
    typed = szilard("deploy", file, file, "--backend", "eager", "--match-draws", "--json")
    assert typed.code == 0, typed.output
    found = json.loads(typed.stdout)
    assert found["mode"] == "ensemble"
    assert len(found["variance_factors"]) == 2
    assert found["epistemic_ratio"] == pytest.approx(1, abs=0.3)
    assert 0 < found["epistemic_ratio_error"] < 0.3
    few = deploy.DrawsComparison(0.1, 0.1, 0.4, 0.05, (9.0, 9.0), inputs=64, count=50)
    monkeypatch.setattr(deployed_uncertainty, "compare_with_draws", lambda *_, **__: few)
    text = " ".join(szilard("deploy", file, file, "--backend", "eager").stdout.split())
    assert "0.25 ±0.05 of that of 50 draws of each network" in text
    assert "too little epistemic uncertainty for this ensemble: use --match-draws" in text
    assert "deploy each network with --samples 32" in text
    point = digits / "deterministic" / "network.pt"
    typed = szilard("deploy", point, point, "--backend", "eager", "--match-draws")
    typed.refused("no network of the ensemble has uncertainty of its weights")


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--mode", "point"], "for mode moments"), (["--samples", 4], "for mode moments")],
)
def test_only_moments_are_matched(digits, options, message):
    typed = szilard("deploy", digits, "--backend", "eager", "--match-draws", *options)
    typed.refused(message)


@pytest.mark.slow  # exports a large graph; small ones are in tests/deploy
def test_samples_are_those_of_predict(table, tmp_path):
    typed = szilard(
        "deploy", table / "run", "-o", tmp_path / "price.onnx", "--samples", 8, "--batch", 2, "--json"
    )
    assert typed.code == 0, typed.output
    found = json.loads(typed.stdout)
    assert (found["mode"], found["batch"], found["backend"]) == ("samples", 2, "onnx")
    assert found["bytes"] == (tmp_path / "price.onnx").stat().st_size
    assert found["difference"] < 1e-4
    assert found["test_difference"] < 1e-4
    assert 0 < found["test_inputs"] <= 30
    assert set(found["seconds"]) == {"point", "samples"}
    predicted = szilard("predict", table / "run", table / "new.csv", "--samples", 8).stdout
    found = answers(tmp_path / "price.onnx", np.array([[580, 2], [700, 5]], np.float32))
    np.testing.assert_allclose(found["answer"], column(predicted, "mean"), rtol=1e-4)
    np.testing.assert_allclose(np.sqrt(found["epistemic"]), column(predicted, "epistemic_std"), rtol=1e-3)


@pytest.mark.slow  # exports a large graph; small ones are in tests/deploy
def test_an_ensemble_of_runs(digits, tmp_path):
    typed = szilard(
        "fit", *TINY, "--epochs", 15, "--lr", 0.02, "--method", "deterministic", "--no-baselines", "--seed", 5, "--out",
        tmp_path / "other", "--quiet",
    )  # fmt: skip
    assert typed.code == 0, typed.output
    files = digits / "deterministic" / "network.pt", tmp_path / "other"
    typed = szilard("deploy", *files, "-o", tmp_path / "two.onnx", "--json")
    assert typed.code == 0, typed.output
    assert json.loads(typed.stdout)["mode"] == "ensemble"
    loaded = data.load("digits", n_train=100)
    p = []
    for file in (files[0], files[1] / "deterministic" / "network.pt"):
        saved = load_network(file)
        p.append(saved.method.predict(saved.network, loaded.test.x[:1]).mean[0])
    found = answers(tmp_path / "two.onnx", loaded.raw(loaded.test.x[:1]).numpy())
    np.testing.assert_allclose(found["answer"], torch.stack(p).mean(0, keepdim=True).numpy(), atol=1e-4)
    assert found["epistemic"][0] > 0


def test_own_weights_in_their_units(table, tmp_path):
    """A network of the user's own, trained on standardised inputs and raw prices, as its data show."""
    loaded = data.load(str(table / "old.csv"), target="price")
    torch.manual_seed(0)
    network = torch.nn.Linear(2, 1)
    x, y = loaded.train.x, loaded.train.y
    solution = torch.linalg.lstsq(torch.cat([x, torch.ones(len(x), 1)], 1), y.unsqueeze(1)).solution
    with torch.no_grad():
        network.weight.copy_(solution[:2].T)
        network.bias.copy_(solution[2])
    torch.save(network.state_dict(), tmp_path / "w.pt")
    (tmp_path / "own.py").write_text("from torch import nn\n\n\ndef build():\n    return nn.Linear(2, 1)\n")
    spec = f"{tmp_path / 'own.py'}:build"
    typed = szilard(
        "deploy", tmp_path / "w.pt", "--network", spec, "--data", table / "old.csv", "--target", "price", "-o",
        tmp_path / "w.onnx",
    )  # fmt: skip
    assert typed.code == 0, typed.output
    assert "point (mean weights, no epistemic uncertainty)" in typed.stdout
    found = answers(tmp_path / "w.onnx", np.array([[580, 2]], np.float32))
    assert found["answer"][0] == pytest.approx(1000.5 + 300 * 2 - 50 * 2, rel=1e-3)
    assert found["epistemic"][0] == 0
    typed = szilard("deploy", tmp_path / "w.pt", "--network", spec, "-o", tmp_path / "v.onnx")
    typed.refused("does not say what inputs its network takes; add --input-shape, or --data")


def test_native_writes_no_file_and_says_what_it_chose(digits, tmp_path, monkeypatch):
    typed = szilard("deploy", digits, "--backend", "native")
    assert typed.code == 0, typed.output
    assert "writes no file: use it in Python (szilard.deploy.compile)" in typed.stdout
    assert "difference to PyTorch" in typed.stdout
    szilard("deploy", digits, "--backend", "native", "-o", tmp_path / "x.onnx").refused(
        "native writes no file"
    )


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ([], "name the file to write with --out"),
        (["-o", "net.bin"], "net.bin has no suffix of a compiled file"),
        (["-o", "net.onnx", "--backend", "onx"], "no backend 'onx' .perhaps onnx"),
        (["-o", "net.pt2", "--backend", "onnx"], "onnx writes files that end in .onnx, and --out is net.pt2"),
        (["--backend", "onnx"], "onnx writes a file; name one with --out that ends in .onnx"),
        (["-o", "no/net.onnx"], "in a folder that does not exist"),
        (["-o", "net.onnx", "--mode", "moment"], "--mode is 'moment'; choose one of point, moments"),
        (["-o", "net.onnx", "--mode", "point", "--samples", 3], "mode point draws no samples"),
        (["-o", "net.onnx", "--samples", 0], "--samples must be at least 1"),
        (["-o", "net.onnx", "--batch", 0], "--batch must be at least 1"),
        (["-o", "net.onnx", "--threads", 0], "--threads must be at least 1"),
        (
            ["-o", "net.onnx", "--input-shape", "3"],
            "says what inputs the network takes; leave out --input-shape",
        ),
        (
            ["-o", "net.onnx", "--mode", "moments", "--method", "deterministic"],
            "needs a network with Gaussian",
        ),
    ],
)
def test_mistakes(digits, tmp_path, monkeypatch, typed, sentence):
    monkeypatch.chdir(tmp_path)
    szilard("deploy", digits, *typed).refused(sentence)
    assert not list(tmp_path.iterdir())


def test_files_that_are_no_networks(digits, table, tmp_path):
    whole = (digits / "ssvi" / "network.pt").read_bytes()
    (tmp_path / "half.pt").write_bytes(whole[: len(whole) // 2])
    szilard("deploy", tmp_path / "half.pt", "-o", tmp_path / "a.onnx").refused("half.pt")
    szilard("deploy", digits, table / "run", "-o", tmp_path / "a.onnx").refused(
        "differ in their task; an ensemble needs the same"
    )
    assert not (tmp_path / "a.onnx").exists()


def test_a_backend_that_computes_something_else_writes_nothing(digits, tmp_path, monkeypatch):
    from szilard.deploy.backends import onnx_runtime

    class Wrong(onnx_runtime.Session):
        def __call__(self, x):
            answer, *others = super().__call__(x)
            return (answer * 1.01, *others)

    monkeypatch.setattr(onnx_runtime, "Session", Wrong)
    (tmp_path / "a.onnx").write_text("before")
    szilard("deploy", digits, "-o", tmp_path / "a.onnx").refused(
        "backend onnx computes another answer than PyTorch: they differ by 0.01 of its size"
    )
    assert (tmp_path / "a.onnx").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]


def test_dead_units_are_removed_from_a_point_network(tmp_path):
    torch.manual_seed(0)
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\n\ndef build():\n"
        "    return nn.Sequential(nn.Linear(5, 40), nn.ReLU(), nn.Linear(40, 3))\n"
    )
    network = torch.nn.Sequential(torch.nn.Linear(5, 40), torch.nn.ReLU(), torch.nn.Linear(40, 3))
    with torch.no_grad():
        network[0].weight[10:] = 0  # 30 units whose output is their bias
    torch.save(network.state_dict(), tmp_path / "net.pt")
    typed = szilard(
        "deploy", tmp_path / "net.pt", "--network", f"{tmp_path / 'net.py'}:build", "--input-shape", "5", "--trust",
        "--task", "classification", "-o", tmp_path / "net.onnx",
    )  # fmt: skip
    assert typed.code == 0, typed.output
    assert "93 parameters instead of 363" in " ".join(typed.output.split())
    assert "raw: not normalised inside, so give them as in training" in typed.stdout
    x = torch.randn(7, 5)
    found = answers(tmp_path / "net.onnx", x.numpy())["answer"]
    np.testing.assert_allclose(found, network(x).softmax(1).detach().numpy(), atol=1e-5)
