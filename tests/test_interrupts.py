"""Signals end a command cleanly, with a correct message."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

import pytest
from cli_tools import TINY, environment, szilard
from kill_tools import kill_compressions, kill_fits

from szilard import compress, data, fit, interrupts, methods
from szilard.cli import compression_with_data
from szilard.model import checkpoint, evaluate
from szilard.training.job import Job

posix = pytest.mark.skipif(os.name != "posix", reason="signals of a POSIX system")


def process(body, *, before=""):
    """A process with Szilard's signal handlers; returns when the process has printed that it is ready.

    Resets signals that the parent process ignores, as under nohup or in a shell's background.
    """
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "for kind in (signal.SIGTERM, signal.SIGHUP): signal.signal(kind, signal.SIG_DFL)\n"
        f"{before}\nfrom szilard import interrupts\ninterrupts.install()\n"
        "def wait():\n    print('ready', flush=True)\n    time.sleep(600)\n" + body
    )
    started = subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert started.stdout.readline() == "ready\n"
    return started


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_raises_an_exception_while_a_command_runs(number):
    started = process(
        "try:\n    with interrupts.command(): wait()\n"
        "except interrupts.Interrupted as stop:\n    print('cleaned up', flush=True); sys.exit(128 + stop.number)\n"
    )
    started.send_signal(number)
    assert started.communicate(timeout=600) == ("cleaned up\n", "")
    assert started.returncode == 128 + number


@posix
def test_a_signal_before_any_command_ends_the_process_at_once():
    started = process("wait()")
    started.send_signal(signal.SIGTERM)
    assert started.communicate(timeout=600) == ("", "error: stopped by SIGTERM; nothing was written\n")
    assert started.returncode == 143


@posix
def test_a_second_signal_ends_the_process_at_once():
    body = (
        "with interrupts.command(), interrupts.later():\n"
        "    print('ready', flush=True)\n"
        "    while interrupts.asked() is None: time.sleep(0.01)\n"
        "    interrupts._state.when -= 10  # long after the first signal\n"
        "    wait()\n"
    )
    started = process(body)
    started.send_signal(signal.SIGTERM)
    assert started.stdout.readline() == "ready\n"
    started.send_signal(signal.SIGINT)
    started.communicate(timeout=600)
    assert started.returncode == 130


@posix
def test_a_repetition_of_the_signal_by_a_launcher_is_ignored():
    body = (
        "interrupts._ECHO = 1e9\n"
        "with interrupts.command(), interrupts.later():\n"
        "    print('ready', flush=True)\n"
        "    while interrupts.asked() is None: time.sleep(0.01)\n"
        "    print('ready', flush=True); sys.stdin.readline()\n"
    )
    started = process(body)
    started.send_signal(signal.SIGINT)
    assert started.stdout.readline() == "ready\n"
    started.send_signal(signal.SIGINT)
    _, message = started.communicate("\n", timeout=600)
    assert "interrupts.Interrupted" in message  # raised on leaving later(), when the work is done
    assert started.returncode != 130


@posix
def test_a_signal_ignored_by_nohup_stays_ignored():
    body = "with interrupts.command():\n    print('ready', flush=True); sys.stdin.readline(); print('done')\n"
    started = process(body, before="signal.signal(signal.SIGHUP, signal.SIG_IGN)")
    started.send_signal(signal.SIGHUP)
    assert started.communicate("\n", timeout=600) == ("done\n", "")


def test_the_library_does_not_replace_a_programs_handlers():
    kinds = [signal.SIGINT, signal.SIGTERM]
    before = [signal.getsignal(kind) for kind in kinds]
    digits = data.load("digits", n_train=20)
    fit(methods.Deterministic(20), "mlp:4", digits, epochs=1, samples=1, progress=False, accelerator="cpu")
    assert [signal.getsignal(kind) for kind in kinds] == before


def train(out, **more):
    """Three epochs of three steps."""
    digits = data.load("digits", n_train=48)
    made = methods.SSVI(48, density=0.3, every=4, growth_batches=3)
    run = fit(
        made, "mlp:8", digits, epochs=3, batch_size=16, samples=2, progress=False, accelerator="cpu", out=out,
        checkpoint_seconds=None, **more,
    )  # fmt: skip
    return checkpoint.load(run.folder / "network.pt", "network")["state_dict"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train(tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("step", range(1, 10))
def test_training_stops_at_a_step_with_a_checkpoint_and_resumes_from_it(tmp_path, monkeypatch, whole, step):
    """In the middle of an epoch, at its end, and at the end of training."""
    steps = []
    after = methods.SSVI.after_step
    monkeypatch.setattr(methods.SSVI, "after_step", lambda *a: (after(*a), steps.append(1)))
    monkeypatch.setattr(interrupts, "asked", lambda: signal.SIGTERM if len(steps) >= step else None)
    with pytest.raises(interrupts.Interrupted) as stop:
        train(tmp_path / "stopped")
    assert stop.value.number == signal.SIGTERM
    assert checkpoint.load(tmp_path / "stopped" / "ssvi" / "checkpoint.pt", "checkpoint")["step"] == step
    monkeypatch.undo()
    resumed = train(tmp_path / "stopped", resume=True)
    assert resumed.keys() == whole.keys()
    assert all(resumed[name].equal(whole[name]) for name in whole)


def interrupt(*_, **__):
    raise interrupts.Interrupted(signal.SIGTERM)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    assert szilard("fit", *TINY, "--no-baselines", "--out", out, "--quiet").code == 0
    return out


def message(*arguments):
    typed = szilard(*arguments)
    assert typed.code == 143
    *_, line = typed.output.splitlines()
    assert line.startswith("error: stopped by SIGTERM; ")
    return line.removeprefix("error: stopped by SIGTERM; ")


class TestMessageIsCorrect:
    def test_measure(self, run, monkeypatch):
        monkeypatch.setattr(evaluate, "measure", interrupt)
        assert message("measure", run) == "no file was written"

    def test_compress(self, run, monkeypatch, tmp_path):
        out = tmp_path / "net.szd"
        monkeypatch.setattr(compression_with_data, "search", interrupt)
        assert message("compress", run, "-o", out) == f"{out} was not written"
        assert not out.exists()
        out.write_bytes(b"before")
        assert message("compress", run, "-o", out) == f"{out} is as it was before"
        assert out.read_bytes() == b"before"

    def test_compress_after_the_file_has_been_written(self, run, monkeypatch, tmp_path):
        save = compress.Compressed.save
        monkeypatch.setattr(compress.Compressed, "save", lambda *a: (save(*a), interrupt()))
        out = tmp_path / "net.szd"
        assert (
            message("compress", run, "-o", out, "--lam", "1e-3") == f"{out} has been written and is complete"
        )
        assert szilard("verify", out).code == 0

    def test_fit_before_training(self, monkeypatch, tmp_path):
        monkeypatch.setattr(data, "load", interrupt)
        assert message("fit", *TINY, "--out", tmp_path / "run") == f"{tmp_path / 'run'} is unchanged"
        assert list(tmp_path.iterdir()) == []

    def test_fit_in_training(self, monkeypatch, tmp_path):
        monkeypatch.setattr(Job, "_train", interrupt)
        out = tmp_path / "run"
        assert message("fit", *TINY, "--out", out) == (
            f"the files in {out} are complete; continue with szilard fit --out {out} --resume --accelerator cpu"
        )

    def test_fit_while_it_writes_the_report(self, monkeypatch, tmp_path):
        from szilard import report

        monkeypatch.setattr(report, "write", interrupt)
        out = tmp_path / "run"
        assert message("fit", *TINY, "--no-baselines", "--out", out).startswith(
            f"all networks are trained; szilard report {out} writes the report"
        )

    def test_fit_while_it_removes_an_earlier_run(self, run, monkeypatch, tmp_path):
        from szilard.run.folder import MethodFolder

        out = tmp_path / "run"
        shutil.copytree(run, out)
        monkeypatch.setattr(MethodFolder, "clear", interrupt)
        assert message("fit", *TINY, "--out", out, "--overwrite") == (
            f"the earlier run in {out} is partly removed; start the new one again with --overwrite"
        )
        monkeypatch.undo()
        assert szilard("fit", *TINY, "--no-baselines", "--out", out, "--overwrite", "--quiet").code == 0

    def test_predictions_to_standard_output(self, run, monkeypatch):
        monkeypatch.setattr(methods.SSVI, "predict", interrupt)
        assert (
            message("predict", run, "digits")
            == "no file was written, and the printed output may be incomplete"
        )


@posix
@pytest.mark.slow
def test_repeated_kills_do_not_change_the_result(tmp_path):
    """SIGKILL and SIGTERM at random moments of training and of compression."""
    fit_arguments = [
        "--data", "digits", "--n-train", "48", "--network", "mlp:16", "--no-baselines", "--density", "0.3",
        "--option", "every=10", "--option", "growth_batches=4", "--batch-size", "8", "--epochs", "60",
        "--checkpoint-steps", "7", "--samples", "2", "--ood", "none", "--accelerator", "cpu",
    ]  # fmt: skip
    for name in ("fit", "compress"):
        (tmp_path / name).mkdir()
    trained = kill_fits(fit_arguments, tmp_path / "fit", kills=8)
    assert trained.identical, trained
    made = kill_compressions([tmp_path / "fit" / "whole"], tmp_path / "compress", kills=8)
    assert made.identical, made
