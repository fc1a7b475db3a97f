"""szilard predict: a prediction and its uncertainty for every input."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
import torch
from cli_tools import TINY, szilard

from szilard import SzilardWarning, data
from szilard.training import load_network


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "digits"
    assert (
        szilard("fit", *TINY, "--epochs", 25, "--lr", 0.02, "--density", 0.8, "--out", out, "--quiet").code
        == 0
    )
    return out


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A regression on a number and a colour: the folder with its run and 3 new rows, with columns in another order."""
    folder = tmp_path_factory.mktemp("runs")
    rows = ["size,colour,price"] + [
        f"{i % 9},{'red' if i % 2 else 'blue'},{100.5 + 10 * (i % 9) + 50 * (i % 2)}" for i in range(120)
    ]
    (folder / "old.csv").write_text("\n".join(rows))
    (folder / "new.csv").write_text("colour,note,size\nred,x,2\nblue,x,2\ngreen,x,2\n")
    typed = szilard(
        "fit", "--data", folder / "old.csv", "--target", "price", "--network", "mlp:16", "--density", 1, "--epochs", 60,
        "--lr", 0.02, "--option", "lr_log_std=1", "--no-baselines", "--out", folder / "run", "--quiet",
    )  # fmt: skip
    assert typed.code == 0, typed.output
    return folder


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def column(found: list[dict[str, str]], name: str) -> np.ndarray:
    return np.array([float(row[name]) for row in found])


def test_classes_of_images(digits, tmp_path):
    loaded = data.load("digits", n_train=100)
    images = loaded.raw(loaded.test.x)[:40]
    np.savez(tmp_path / "new.npz", x=images[:, 0].numpy())  # [N, H, W] in [0, 1]
    typed = szilard("predict", digits, tmp_path / "new.npz", "-o", tmp_path / "out.csv", "--samples", 8)
    assert typed.code == 0, typed.output
    found = rows((tmp_path / "out.csv").read_text())
    assert list(found[0]) == ["label", "probability", "entropy", "aleatoric", "epistemic"]
    network = load_network(digits / "ssvi" / "network.pt")  # predict uses the first method of the run
    expected = network.method.predict(network.network, loaded.test.x[:40], samples=8)
    assert [row["label"] for row in found] == [str(int(label)) for label in expected.labels]
    np.testing.assert_allclose(column(found, "probability"), expected.max_probability().numpy(), rtol=1e-4)
    np.testing.assert_allclose(
        column(found, "entropy"), column(found, "aleatoric") + column(found, "epistemic"), atol=1e-5
    )
    truth = loaded.test.y[:40].tolist()
    assert np.mean([int(row["label"]) == y for row, y in zip(found, truth, strict=True)]) > 0.5


def test_uint8_images_are_accepted(digits, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), dtype=np.uint8)
    np.savez(tmp_path / "bytes.npz", images)
    np.savez(tmp_path / "floats.npz", x=images.astype(np.float32)[..., 0] / 255)
    one, two = (szilard("predict", digits, tmp_path / f"{name}.npz").stdout for name in ("bytes", "floats"))
    assert len(rows(one)) == 5
    assert one == two


def test_a_data_set_by_name_and_a_baseline(digits):
    typed = szilard("predict", digits, "digits", "--method", "deterministic")
    found = rows(typed.output)
    test = data.load("digits", n_train=100).test
    assert len(found) == len(test)
    assert set(column(found, "epistemic")) == {0.0}  # a point network has no epistemic uncertainty
    right = np.array([int(row["label"]) for row in found]) == test.y.numpy()
    assert right.mean() > 0.6


def test_a_run_of_several_methods_says_which_one_answers(digits, tmp_path):
    said = "has networks of ssvi, deterministic and mean-field: this is the one of ssvi; choose another with --method"
    typed = szilard("predict", digits, "digits", "--samples", 1)
    assert said in " ".join(typed.output.partition("label,")[0].split())  # before the answer
    assert "has networks" not in typed.stdout
    for chosen in (digits / "ssvi", digits / "ssvi" / "network.pt"):
        assert said not in szilard("predict", chosen, "digits", "--samples", 1).output
    told = szilard("predict", digits, "digits", "--method", "ssvi", "--samples", 1)
    assert said not in told.output
    assert told.stdout == typed.stdout


def test_a_method_beside_another_ones_network_is_refused(digits, tmp_path):
    out = tmp_path / "net.onnx"
    for path in (digits / "ssvi", digits / "ssvi" / "network.pt"):
        for command in (
            ("predict", path, "digits"),
            ("measure", path),
            ("deploy", path, "-o", out),
            ("compress", path),
        ):
            szilard(*command, "--method", "mean-field").refused(
                "is the network of 'ssvi', not of 'mean-field'"
            )
    torch.save({"a": torch.ones(2)}, tmp_path / "w.pt")
    szilard("predict", tmp_path / "w.pt", "digits", "--method", "ssvi").refused("leave --method out")


def test_one_method_of_a_run_is_measured(digits):
    typed = szilard("measure", digits, "--method", "deterministic", "--json")
    assert [row["method"] for row in json.loads(typed.stdout)["networks"]] == ["deterministic"]


def test_regression_in_the_units_of_the_target(table):
    found = rows(szilard("predict", table / "run", table / "new.csv").output)
    assert list(found[0]) == ["mean", "std", "aleatoric_std", "epistemic_std"]
    mean = column(found, "mean")
    assert mean[0] == pytest.approx(170, abs=15)
    assert mean[1] == pytest.approx(120, abs=15)
    std = np.hypot(column(found, "aleatoric_std"), column(found, "epistemic_std"))
    np.testing.assert_allclose(column(found, "std"), std, rtol=1e-4)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            {"x": np.zeros((3, 9, 9), np.float32)},
            r"have shape \[1, 9, 9\], and the network takes \[1, 8, 8\]",
        ),
        ({"x": np.full((3, 8, 8), np.nan, np.float32)}, r"new.npz is NaN at index \[0, 0, 0, 0\]"),
        (
            {"x": np.full((3, 8, 8), 7, np.float32)},
            r"have values in \[7, 7\], and .* in \[0, 1\]; give bytes",
        ),
        ({"x": np.zeros((0, 8, 8), np.float32)}, "holds no inputs"),
        ({"a": np.zeros(2), "b": np.zeros(2)}, "holds a, b; name the inputs x"),
        ({"x": np.array(["a", "b"])}, "not numbers"),
    ],
)
def test_invalid_inputs_are_refused(digits, tmp_path, content, sentence):
    np.savez(tmp_path / "new.npz", **content)
    szilard("predict", digits, tmp_path / "new.npz", "-o", tmp_path / "out.csv").refused(sentence)
    assert not (tmp_path / "out.csv").exists()


def test_invalid_tables_are_refused(digits, table, tmp_path):
    (tmp_path / "a.csv").write_text("size,colour\n1,red\n1e39,red\n")
    szilard("predict", table / "run", tmp_path / "a.csv").refused(
        "line 3, column 'size' of .* is 1e\\+39, too large"
    )
    (tmp_path / "a.csv").write_text("size\n3\n")
    szilard("predict", table / "run", tmp_path / "a.csv").refused(
        "has no column 'colour', which the network was trained on"
    )
    (tmp_path / "a.csv").write_text("size,colour\nbig,red\n")
    szilard("predict", table / "run", tmp_path / "a.csv").refused(
        "line 2, column 'size' .* is 'big', not a number"
    )
    szilard("predict", digits, tmp_path / "a.csv").refused("the network takes images")


def test_other_errors(digits, tmp_path):
    szilard("predict", digits, "digits", "--method", "ssvy").refused(
        "no finished network of 'ssvy'; it has ssvi, deterministic"
    )
    szilard("predict", digits, "digits", "-o", tmp_path / "no" / "out.csv").refused(
        "folder that does not exist"
    )
    szilard("predict", digits, "digits", "-o", tmp_path).refused("is a folder")
    szilard("predict", digits, "digits", "--samples", 0).refused("--samples must be at least 1")
    szilard("predict", digits, "digitz").refused("no data set 'digitz'")
    torch.save({"a": torch.ones(2)}, tmp_path / "w.pt")
    szilard("predict", tmp_path / "w.pt", "digits").refused("holds weights and does not say of which network")


def test_one_pass_against_samples(digits, tmp_path):
    test = data.load("digits", n_train=100).test
    one = rows(szilard("predict", digits, "digits", "--one-pass").stdout)
    many = rows(szilard("predict", digits, "digits", "--samples", 400).stdout)
    assert list(one[0]) == list(many[0])
    assert np.abs(column(one, "probability") - column(many, "probability")).max() < 0.1
    epistemic, sampled = column(one, "epistemic"), column(many, "epistemic")
    assert np.corrcoef(epistemic, sampled)[0, 1] > 0.9
    assert 0.6 < epistemic.mean() / sampled.mean() < 1.2  # units count as independent
    saved = load_network(digits / "ssvi" / "network.pt")
    wanted = saved.method.predict_one_pass(saved.network, test.x)
    assert [row["label"] for row in one] == [str(int(label)) for label in wanted.labels]
    np.testing.assert_allclose(epistemic, wanted.epistemic().numpy(), rtol=1e-4, atol=1e-6)
    assert szilard("convert", digits / "ssvi" / "network.pt", tmp_path / "digits.szd").code == 0
    assert rows(szilard("predict", tmp_path / "digits.szd", "digits", "--one-pass").stdout) == one


def test_one_pass_of_a_quantity(table, tmp_path):
    (tmp_path / "new.csv").write_text("colour,size\nred,2\nblue,2\n")
    one = rows(szilard("predict", table / "run", tmp_path / "new.csv", "--one-pass").stdout)
    many = rows(szilard("predict", table / "run", tmp_path / "new.csv", "--samples", 500).stdout)
    assert list(one[0]) == ["mean", "std", "aleatoric_std", "epistemic_std"]
    np.testing.assert_allclose(column(one, "mean"), column(many, "mean"), atol=3)
    np.testing.assert_allclose(column(one, "aleatoric_std"), column(many, "aleatoric_std"), rtol=0.05)
    np.testing.assert_allclose(column(one, "epistemic_std"), column(many, "epistemic_std"), rtol=0.4)
    with pytest.warns(SzilardWarning, match="line 4 of .* that training has not seen"):
        one = rows(szilard("predict", table / "run", table / "new.csv", "--one-pass").stdout)
    with pytest.warns(SzilardWarning, match="column 'colour' that training has not seen"):
        many = rows(szilard("predict", table / "run", table / "new.csv", "--samples", 500).stdout)
    np.testing.assert_allclose(column(one, "mean"), column(many, "mean"), atol=5)
    np.testing.assert_allclose(column(one, "epistemic_std"), column(many, "epistemic_std"), rtol=0.4)


def test_one_pass_of_labels(tmp_path):
    lines = ["size,small,even"] + [f"{i % 9},{int(i % 9 < 4)},{int(i % 9 % 2 == 0)}" for i in range(120)]
    (tmp_path / "old.csv").write_text("\n".join(lines))
    typed = szilard(
        "fit", "--data", tmp_path / "old.csv", "--target", "small,even", "--task", "multilabel", "--network", "mlp:16",
        "--density", 1, "--epochs", 40, "--lr", 0.02, "--no-baselines", "--out", tmp_path / "run", "--quiet",
    )  # fmt: skip
    assert typed.code == 0, typed.output
    one = rows(szilard("predict", tmp_path / "run", tmp_path / "old.csv", "--one-pass").stdout)
    many = rows(szilard("predict", tmp_path / "run", tmp_path / "old.csv", "--samples", 400).stdout)
    assert list(one[0]) == list(many[0])
    for name in ("small", "even"):
        np.testing.assert_allclose(column(one, name), column(many, name), atol=0.1)
        assert column(one, f"{name}_epistemic").max() > 0


def test_one_pass_says_what_it_cannot_do(digits, tmp_path):
    szilard("predict", digits, "digits", "--one-pass", "--samples", 32).refused(
        "--one-pass draws no samples; leave out --samples or --one-pass"
    )
    typed = szilard("predict", digits, "digits", "--method", "deterministic", "--one-pass")
    assert typed.code == 0
    assert "no uncertainty of its weights, so that --one-pass changes nothing" in typed.output
    assert typed.stdout == szilard("predict", digits, "digits", "--method", "deterministic").stdout
    (tmp_path / "own.py").write_text(
        "from torch import nn\n\n\nclass Sums(nn.Module):\n    def forward(self, x):\n        return x.cumsum(1)\n\n\n"
        "def build():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), Sums(), nn.Linear(8, 10))\n"
    )
    typed = szilard(
        "fit", *TINY[:4], "--network", f"{tmp_path / 'own.py'}:build", *TINY[6:], "--no-baselines", "--out",
        tmp_path / "run", "--quiet",
    )  # fmt: skip
    assert typed.code == 0, typed.output
    szilard("predict", tmp_path / "run", "digits", "--one-pass", "-o", tmp_path / "out.csv").refused(
        "there is no rule for the mean and variance of cumsum; use --samples instead$"
    )
    assert not (tmp_path / "out.csv").exists()
