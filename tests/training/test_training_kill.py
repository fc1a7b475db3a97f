"""A run in a subprocess that is killed with SIGKILL, and runs of several processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import forked
import pytest
import torch
from typer.testing import CliRunner

from szilard import methods
from szilard.cli import app
from szilard.model import checkpoint

# Eight examples a batch make six steps an epoch; supports move every ten steps, and so between two checkpoints.
FIT = [
    "fit", "--data", "digits", "--n-train", "48", "--network", "mlp:16", "--no-baselines", "--density", "0.3",
    "--option", "every=10", "--option", "growth_batches=4", "--batch-size", "8", "--epochs", "30",
    "--checkpoint-steps", "7", "--samples", "2", "--ood", "none", "--accelerator", "cpu", "--quiet",
]  # fmt: skip
needs_gloo = pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="no gloo here")
PATIENCE = 600  # seconds after which a process is assumed to hang, even on a busy machine
TIMINGS = {"seconds", "seconds_per_step", "peak_bytes"}


def command(*arguments: object, launcher: tuple[str, ...] = ()) -> list[str]:
    return [sys.executable, *launcher, "-m", "szilard", *map(str, arguments)]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path), **more}


def szilard(*arguments: object) -> None:
    """Run the command in this process, which saves the seconds to load torch."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output


def torchrun(*arguments: object) -> subprocess.Popen:
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    return subprocess.Popen(
        command(*arguments, launcher=launcher),
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(process: subprocess.Popen, run: Path, epochs: int) -> None:
    """Wait until the log has this many epochs."""
    patience = time.monotonic() + PATIENCE
    while lines(run) < epochs and process.poll() is None and time.monotonic() < patience:
        time.sleep(0.002)
    assert process.poll() is None, "the run ended before it could be killed"


def untimed(value):
    if isinstance(value, dict):
        return {k: untimed(v) for k, v in value.items() if k not in TIMINGS}
    return [untimed(v) for v in value] if isinstance(value, list) else value


def results(run: Path) -> tuple:
    folder = run / "ssvi"
    lines = [untimed(json.loads(text)) for text in (folder / "metrics.jsonl").read_text().splitlines()]
    return lines, untimed(json.loads((folder / "result.json").read_text()))


def assert_same_run(a: Path, b: Path) -> None:
    assert results(a) == results(b)
    one, two = (checkpoint.load(run / "ssvi" / "network.pt", "network")["state_dict"] for run in (a, b))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def lines(run: Path) -> int:
    path = run / "ssvi" / "metrics.jsonl"
    return path.read_text().count("\n") if path.is_file() else 0


def killed_after(last: int, *arguments: object) -> Callable[[], None]:
    """The command in a process that kills itself after a number of steps, independent of time."""

    def work() -> None:
        after = methods.SSVI.after_step

        def step(self, *given):
            after(self, *given)
            if self.step == last:
                os.kill(os.getpid(), signal.SIGKILL)

        methods.SSVI.after_step = step
        forked.command(*arguments)()

    return work


@forked.needs_fork
def test_sigkill_and_resume_give_the_uninterrupted_result(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    fit = [*FIT, "--epochs", "12"]
    szilard(*fit, "--out", whole)
    process = forked.Forked(killed_after(33, *fit, "--out", killed, "--resume"))
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors
    assert lines(killed) == 5
    assert not (killed / "ssvi" / "result.json").exists()
    szilard("fit", "--out", killed, "--resume", "--quiet")  # the settings come from run.toml
    assert_same_run(whole, killed)
    assert not list(killed.rglob("*.tmp"))


def trained_by_two(*arguments: object) -> None:
    """Like torchrun, but the processes are forked from one that has loaded all modules, which saves seconds."""
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=2, run_id="test", rdzv_backend="c10d", rdzv_endpoint="localhost:0",
        start_method="fork", max_restarts=0,
    )  # fmt: skip
    elastic_launch(config, trained)(*arguments)


def trained(*arguments: object) -> None:
    try:
        forked.command(*arguments)()
    except SystemExit as ended:
        if ended.code:
            raise RuntimeError(f"exit code {ended.code}") from None


@needs_gloo
@forked.needs_fork
def test_several_processes_train_one_network(tmp_path):
    """The tests marked slow use torchrun itself."""
    started = forked.Forked(lambda: trained_by_two(*FIT, "--out", tmp_path / "run", "--epochs", "6"))
    _, errors = started.communicate(timeout=PATIENCE)
    assert started.returncode == 0, errors
    log, result = results(tmp_path / "run")
    assert [line["step"] for line in log] == [
        3 * (i + 1) for i in range(6)
    ]  # each process takes half of an epoch
    assert result["steps"] == 18
    assert log[-1]["energy"] < log[0]["energy"]
    state = checkpoint.load(tmp_path / "run" / "ssvi" / "checkpoint.pt", "checkpoint")
    assert len(state["processes"]) == 2


@pytest.mark.slow
@needs_gloo
def test_several_processes_killed_and_resumed(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert torchrun(*FIT, "--out", whole).wait(PATIENCE) == 0
    process = torchrun(*FIT, "--out", killed, "--resume")
    wait_for(process, killed, 10)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert torchrun(*FIT, "--out", killed, "--resume").wait(PATIENCE) == 0
    assert_same_run(whole, killed)


@pytest.mark.slow
@needs_gloo
def test_several_processes_lock_one_folder_and_stop_together(tmp_path):
    """A second torchrun is refused; SIGTERM to the first writes a checkpoint from which a third resumes."""
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert torchrun(*FIT, "--epochs", 200, "--out", whole).wait(PATIENCE) == 0
    process = torchrun(*FIT, "--epochs", 200, "--out", stopped)
    wait_for(process, stopped, 4)
    second = torchrun(*FIT, "--epochs", 200, "--out", stopped, "--overwrite")
    assert "in use by process" in second.communicate(timeout=PATIENCE)[1]
    assert second.returncode != 0
    assert process.poll() is None, "the run ended before it could be stopped"
    process.terminate()
    message = process.communicate(timeout=PATIENCE)[1]
    assert (
        f"stopped by SIGTERM; the files in {stopped} are complete; continue with the same command and --resume"
        in message
    )
    assert torchrun(*FIT, "--epochs", 200, "--out", stopped, "--resume").wait(PATIENCE) == 0
    assert_same_run(whole, stopped)
    assert not list(stopped.rglob(".*"))


@pytest.mark.slow
@needs_gloo
def test_fabric_run_starts_the_processes(tmp_path):
    script = tmp_path / "train.py"
    script.write_text("from szilard.cli import main\nmain()\n")
    fit = [x for i, x in enumerate(FIT) if "--accelerator" not in FIT[max(0, i - 1) : i + 1]]
    options = ("--accelerator", "cpu", "--devices", "2", "--strategy", "ddp")
    launcher = [sys.executable, "-m", "lightning_fabric.cli", *options, str(script)]
    done = subprocess.run(
        [*launcher, *fit, "--epochs", "2", "--out", str(tmp_path / "run")],
        env=environment(), capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [line["step"] for line in results(tmp_path / "run")[0]] == [3, 6]
