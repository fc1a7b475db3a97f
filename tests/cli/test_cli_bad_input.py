"""A user error gives a message of one line and exit code 2, and no file is lost."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cli_tools import TINY, Typed, szilard

from szilard.model import checkpoint

ONE = (*TINY, "--no-baselines", "--ood", "none")


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def arrays(tmp_path, **changes):
    draws = np.random.default_rng(0)
    content = {"x": draws.normal(size=(60, 4)).astype(np.float32), "y": np.arange(60) % 3} | changes
    np.savez(tmp_path / "a.npz", **content)


def with_one_value(value, shape=(60, 4)):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    x[7, 2] = value
    return x


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--data", "digist"], r"no data set 'digist' \(perhaps digits\)"),
        (["--data", "mnist", "--data-root", "."], "mnist was not found: .* is expected in"),
        (["--data", "none.csv", "--target", "y"], "none.csv does not exist"),
        (["--data", "none.npz"], "none.npz does not exist"),
        (["--data", "digits", "--target", "y"], "target chooses a column"),
        (["--data", "digits", "--task", "poetry"], "task must be"),
        (["--network", "mpl"], r"no network 'mpl' \(perhaps mlp\)"),
        (["--network", "none.py:build"], "none.py does not exist"),
        (["--network", "lenet5"], "lenet5 needs images of at least"),
        (["--method", "svi"], "unknown method 'svi'"),
        (["--density", "0"], "density"),
        (["--density", "1.5"], "density"),
        (["--density", "nan"], "density"),
        (["--method", "mean-field", "--density", "0.5"], "method 'mean-field' has no option 'density'"),
        (["--temperature", "-1"], "temperature must be zero or positive"),
        (["--option", "evry=3"], "no option 'evry' .did you mean 'every'"),
        (["--option", "every"], "--option needs KEY=VALUE"),
        (["--option", "score=beauty"], "unknown removal score 'beauty'"),
        (["--lr", "-1"], "lr must be positive"),
        (["--epochs", "0"], "epochs must be positive"),
        (["--batch-size", "0"], "batch_size must be positive"),
        (["--samples", "0"], "samples must be positive"),
        (["--n-train", "-5"], "--n-train"),
        (["--augment", "flip"], "augment must be"),
        (["--precision", "3"], "there is no precision '3'"),
        (["--devices", "some"], "devices must be a number"),
        (["--accelerator", "abacus"], "cannot compute with accelerator 'abacus'"),
        (["--resume"], "name it with --out"),
        (["run.toml"], "run.toml cannot be read"),
    ],
)
def test_invalid_arguments_are_refused(tmp_path, arguments, sentence):
    all_arguments = arguments if "--resume" in arguments else [*arguments, "--ood", "none", "--out", "runs/x"]
    szilard("fit", *all_arguments).refused(sentence)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"x": with_one_value(np.nan)}, r"x of .*a.npz is NaN at row, column \[7, 2\]"),
        ({"x": with_one_value(np.inf)}, r"x of .*a.npz is infinite at row, column \[7, 2\]"),
        ({"y": np.arange(60) % 3 - 1}, "label -1 at index 0 of .* is negative"),
        (
            {"y": np.where(np.arange(60) % 3 == 1, 3, np.arange(60) % 3)},
            "class 1 of a.npz has no training example",
        ),
        ({"x": np.ones((60, 4), np.float32)}, "constant in the training rows"),
        ({"y": np.ones(60)}, "nothing to predict"),
        ({"y": np.arange(7)}, "60 inputs but 7 labels"),
        ({"x": np.array([{}] * 60)}, "Python objects"),
    ],
)
def test_unusable_data_are_refused(tmp_path, changes, sentence):
    arrays(tmp_path, **changes)
    szilard("fit", "--data", "a.npz", "--out", "runs/x").refused(sentence)
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a,b\n1,2\n", "name the column of .*t.csv to predict"),
        ("a,y\n1,2\n,3.5\n" + "4,5\n" * 9, "line 3, column 'a' .* is missing"),
        ("a,y\n1,2\nx,3.5\n" + "4,5\n" * 9, "line 3, column 'a' .* is 'x', not a number"),
        ("", "is empty"),
    ],
)
def test_invalid_tables_are_refused(tmp_path, text, sentence):
    (tmp_path / "t.csv").write_text(text)
    target = [] if "b" in text else ["--target", "y"]
    szilard("fit", "--data", "t.csv", *target, "--out", "x").refused(sentence)
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("return nn.Sequential(nn.Flatten(), nn.Linear(64, 7))", r"needs \[B, 10\]"),
        ("return nn.Linear(3, 10)", "the network cannot take inputs of digits"),
        ("return 3", "it must return a torch.nn.Module"),
        ("raise ValueError('oh')", "raises ValueError: oh"),
        ("return nn.Flatten()", "no parameters"),
    ],
)
def test_networks_that_do_not_fit_the_data_are_refused(tmp_path, body, sentence):
    (tmp_path / "n.py").write_text(f"from torch import nn\ndef build():\n    {body}\n")
    szilard("fit", "--network", "n.py:build", "--ood", "none", "--out", "runs/x").refused(sentence)
    assert not (tmp_path / "runs").exists()


def test_options_of_all_methods_are_checked_before_training(tmp_path):
    (tmp_path / "run.toml").write_text("methods = ['deterministic', 'ssvi']\n[method.ssvi]\ndensity = 7.0\n")
    szilard("fit", "run.toml", "--out", "x").refused("density")
    assert [p.name for p in tmp_path.iterdir()] == ["run.toml"]


def test_overwrite_keeps_the_old_run_if_the_new_one_is_refused(tmp_path):
    assert szilard("fit", *ONE, "--out", "run", "--quiet").code == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    szilard("fit", *ONE, "--out", "run", "--density", "2", "--overwrite").refused("density")
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def interrupted(monkeypatch) -> None:
    """A run of ssvi in run/ that stopped after a checkpoint."""
    monkeypatch.setattr("szilard.run.arrays.save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    typed = szilard("fit", *ONE, "--out", "run", "--quiet")
    assert typed.code == 130
    assert "interrupted" in typed.output
    assert "Traceback" not in typed.output
    monkeypatch.undo()


class TestCheckpoint:
    @pytest.fixture(autouse=True)
    def _interrupted(self, tmp_path, monkeypatch):
        interrupted(monkeypatch)
        monkeypatch.chdir(tmp_path)
        self.path = tmp_path / "run" / "ssvi" / "checkpoint.pt"

    def resume(self) -> Typed:
        before = self.path.read_bytes()
        typed = szilard("fit", "--out", "run", "--resume", "--quiet")
        if typed.code:
            assert self.path.read_bytes() == before
        return typed

    def test_complete(self):
        assert self.resume().code == 0

    def test_cut_short(self):
        self.path.write_bytes(self.path.read_bytes()[:-1000])
        self.resume().refused("checkpoint.pt is truncated or damaged")

    def test_not_a_checkpoint(self):
        self.path.write_text("hello")
        self.resume().refused("is not a checkpoint")

    def test_of_another_method(self):
        content = checkpoint.load(self.path, "checkpoint")
        content["made_by"]["method"] = "mean-field"
        torch.save(content, self.path)
        self.resume().refused("its method is mean-field and not ssvi")

    def test_of_another_network(self):
        content = checkpoint.load(self.path, "checkpoint")
        content["network"]["1.bias"] = torch.zeros(3)
        torch.save(content, self.path)
        self.resume().refused(r"is of another network: in the file 1.bias has shape \[3\]")


def test_an_output_folder_that_cannot_be_created(tmp_path):
    (tmp_path / "file").write_text("")
    szilard("fit", *ONE, "--out", "file/run").refused("cannot be created")


def test_a_diverging_run_is_reported(tmp_path):
    szilard("fit", *ONE, "--lr", "1e30", "--out", "run", "--quiet").refused(
        "NaN or infinite in epoch .* of 2; try a lower"
    )
    assert not (tmp_path / "run" / "ssvi" / "result.json").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["measure", "none"], "there is no run or file none"),
        (["measure", "."], r"\. is not a run folder"),
        (["predict", "none", "x.npz"], "there is no run or file none"),
        (["report", "none"], "none does not exist"),
        (["report", "."], r"\. is not a run folder"),
    ],
)
def test_a_missing_or_invalid_run_is_refused(tmp_path, arguments, sentence):
    szilard(*arguments).refused(sentence)
    assert not list(tmp_path.iterdir())
