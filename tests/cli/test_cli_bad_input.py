"""A user error gives a message of one line and exit code 2, and no file is lost."""

from __future__ import annotations

import errno
import json
import os

import numpy as np
import pytest
import torch
from cli_tools import TINY, Typed, szilard
from forked import Forked, command, needs_fork

from szilard import atomic
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


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert szilard("fit", *ONE, "--out", out, "--quiet").code == 0
    return out


@pytest.mark.parametrize("file", ["checkpoint.pt", "network.pt", "result.json"])
def test_a_full_disk_loses_no_file(tmp_path, monkeypatch, whole, file):
    replace = os.replace

    def full(source, target):
        if str(target).endswith(file) and must_fail():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    def must_fail():
        # The first checkpoint is written, so that there is one to keep.
        return file != "checkpoint.pt" or (tmp_path / "run" / "ssvi" / file).exists()

    monkeypatch.setattr(atomic.os, "replace", full)
    typed = szilard("fit", *ONE, "--out", "run", "--checkpoint-steps", 1, "--quiet")
    typed.refused(
        f"the disk is full: .*{file} could not be written and is unchanged; free some space and continue with "
        "szilard fit --out run --resume"
    )
    monkeypatch.setattr(atomic.os, "replace", replace)
    assert not list(tmp_path.rglob("*.tmp"))
    assert checkpoint.load(tmp_path / "run" / "ssvi" / "checkpoint.pt", "checkpoint")["step"] >= 1
    assert szilard("fit", "--out", "run", "--resume", "--quiet").code == 0
    one, two = (
        checkpoint.load(run / "ssvi" / "network.pt", "network")["state_dict"]
        for run in (whole, tmp_path / "run")
    )
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.skipif(os.name != "posix", reason="resource limits")
def test_a_file_size_limit_of_the_operating_system(tmp_path):
    """With RLIMIT_FSIZE at 30 kB, the operating system fails a write as it does on a full disk."""
    import resource

    big = ("--network", "mlp:64", "--density", "1")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, before[1]))
    try:
        typed = szilard("fit", *ONE, *big, "--out", "run", "--quiet")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    typed.refused("checkpoint.pt could not be written .File too large")
    assert sorted(p.name for p in (tmp_path / "run" / "ssvi").iterdir()) == ["metrics.jsonl"]


@pytest.mark.parametrize("half", [b"", b'{"kind": "epoch", "epo'])
def test_a_full_disk_while_writing_the_log(tmp_path, monkeypatch, whole, half):
    """Part of a line may have been written; the resumed run removes it."""
    fsync, calls = os.fsync, []

    def full(handle):
        if os.path.basename(os.readlink(f"/proc/self/fd/{handle}")) == "metrics.jsonl":
            calls.append(handle)
            if len(calls) == 2:
                os.ftruncate(handle, os.fstat(handle).st_size - len(log.read_bytes().splitlines()[-1]) - 1)
                os.write(handle, half)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    log = tmp_path / "run" / "ssvi" / "metrics.jsonl"
    monkeypatch.setattr(atomic.os, "fsync", full)
    szilard("fit", *ONE, "--out", "run", "--checkpoint-steps", 1, "--quiet").refused(
        "the disk is full: .*metrics.jsonl could not be written; free some space and continue "
        "with szilard fit --out run "
        "--resume"
    )
    monkeypatch.setattr(atomic.os, "fsync", fsync)
    assert log.read_bytes().endswith(half)
    assert szilard("fit", "--out", "run", "--resume", "--quiet").code == 0
    steps = [[json.loads(x)["step"] for x in (p / "ssvi" / "metrics.jsonl").read_text().splitlines()]
             for p in (whole, tmp_path / "run")]  # fmt: skip
    assert steps[0] == steps[1]


def test_a_full_disk_while_writing_the_report(tmp_path, monkeypatch):
    replace = os.replace

    def full(source, target):
        if str(target).endswith("report.html"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    monkeypatch.setattr(atomic.os, "replace", full)
    szilard("fit", *ONE, "--out", "run", "--quiet").refused(
        "the disk is full: .*report.html could not be written .*; free some space and write it with szilard report run"
    )
    monkeypatch.setattr(atomic.os, "replace", replace)
    assert szilard("report", "run").code == 0


def test_a_full_disk_while_writing_tensorboard_events(tmp_path, monkeypatch):
    writer = pytest.importorskip("torch.utils.tensorboard").SummaryWriter

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(writer, "add_scalar", full)
    szilard("fit", *ONE, "--out", "run", "--tensorboard", "--quiet").refused(
        "the disk is full: .*events.out.tfevents could not be written; free some space and continue "
        "with szilard fit --out run "
        "--resume --accelerator cpu --tensorboard"
    )


@needs_fork
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_standard_output_to_a_full_disk(tmp_path, whole):
    np.savez("x.npz", x=np.zeros((5, 8, 8), np.float32))  # loading digits takes seconds
    with open("/dev/full", "w") as full:
        started = Forked(
            command("predict", whole, "x.npz", "--samples", 2), streams=(None, full.fileno(), None)
        )
    _, errors = started.communicate()
    Typed(started.returncode, errors).refused("No space left on device")


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
