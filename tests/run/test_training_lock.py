"""Locks: two processes cannot write into one run folder."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest
from cli_tools import TINY, environment, szilard
from forked import Forked, command, needs_fork
from kill_tools import leftovers

from szilard import SzilardError, SzilardWarning, data, fit, flock, methods
from szilard.model import checkpoint
from szilard.run import lock

pytestmark = pytest.mark.skipif(flock.fcntl is None, reason="no file locks here")

HOLD = """
import sys
from pathlib import Path
from szilard.run import lock
with getattr(lock, sys.argv[1])(Path(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder():
    """A function that starts a process which holds a lock."""
    started = []

    def hold(kind, folder):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, kind, str(folder)],
            env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in started:
        process.kill()
        process.communicate()


def held(kind, folder):
    """Whether another process or thread holds the lock."""
    try:
        with getattr(lock, kind)(folder):
            return False
    except SzilardError:
        return True


def test_the_error_names_the_process_that_holds_the_lock(tmp_path, holder):
    run = tmp_path / "run"
    process = holder("run", run)
    with pytest.raises(SzilardError) as error, lock.run(run):
        pass
    assert re.fullmatch(
        rf"{re.escape(str(run))} is in use by process {process.pid} on \S+, which has trained in it since "
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d; wait until it ends or stop it, or name another folder",
        str(error.value),
    )
    process.communicate("\n")
    assert not held("run", run)
    assert not run.exists()  # it was created for the lock only


def test_a_killed_process_releases_the_lock(tmp_path, holder):
    process = holder("run", tmp_path)
    process.kill()
    process.wait()
    assert leftovers(tmp_path) == [".lock"]
    assert not held("run", tmp_path)
    assert leftovers(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_does_not_keep_the_lock(tmp_path):
    """A worker that outlives its parent must not hold the lock forever."""
    code = """
import os, sys
from pathlib import Path
from szilard.run import lock
with lock.run(Path(sys.argv[1])):
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        sys.stdin.readline()
        os._exit(0)
    os.kill(os.getpid(), 9)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    child = int(process.stdout.readline())
    process.wait()
    os.kill(child, 0)  # raises if the child has ended
    assert not held("run", tmp_path)
    process.communicate("\n")


def test_locks_of_methods_share_a_folder_and_the_lock_of_a_run_is_exclusive(tmp_path, holder):
    process = holder("method", tmp_path / "ssvi")
    assert not held("method", tmp_path / "deterministic")
    assert held("method", tmp_path / "ssvi")
    with pytest.raises(SzilardError, match=f"in use by process {process.pid} on"), lock.run(tmp_path):
        pass
    process.communicate("\n")
    with lock.run(tmp_path), lock.run(tmp_path), lock.method(tmp_path / "ssvi"):  # a run and its own methods
        pass
    assert list(tmp_path.iterdir()) == []


def test_another_thread_is_another_run(tmp_path):
    with lock.run(tmp_path):
        found = []
        thread = threading.Thread(
            target=lambda: found.extend([held("run", tmp_path), held("method", tmp_path / "a")])
        )
        thread.start()
        thread.join()
    assert found == [True, True]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b'{"pid": "x", "host": 1}', b"\xff" * 10_000, b"[" * 5000,
                b'{"pid": 1, "host": "\\u001b[2J", "started": "2026-01-01T00:00:00"}']
)  # fmt: skip
def test_invalid_content_of_a_lock_file_is_handled(tmp_path, content):
    path = tmp_path / lock.NAME
    path.write_bytes(content)
    with path.open("rb+") as file:
        assert flock.take(file.fileno())
        with pytest.raises(SzilardError, match="is in use by") as error, lock.run(tmp_path):
            pass
    assert str(error.value).isprintable()


def test_a_lock_file_that_cannot_be_opened_is_refused(tmp_path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / lock.NAME).symlink_to(tmp_path / "precious")
    with pytest.raises(SzilardError, match=r"the lock .* cannot be opened"), lock.run(tmp_path):
        pass
    assert (tmp_path / "precious").read_text() == "precious"
    (tmp_path / "run" / lock.NAME).mkdir(parents=True)
    with pytest.raises(SzilardError, match=r"the lock .* cannot be opened"), lock.run(tmp_path / "run"):
        pass


def test_a_file_system_without_locks_gives_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(flock, "take", lambda *_, **__: None)
    with pytest.warns(SzilardWarning, match="a second run in it is not prevented"), lock.run(tmp_path):
        pass


def test_fit_in_a_locked_folder_is_refused_and_changes_nothing(tmp_path, holder):
    run = tmp_path / "run"
    assert szilard("fit", *TINY, "--no-baselines", "--out", run, "--quiet").code == 0
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    holder("run", run)
    for option in ([], ["--resume"], ["--overwrite"]):
        szilard("fit", *TINY, "--out", run, *option).refused(
            "is in use by process .*; wait until it ends or stop it"
        )
    digits = data.load("digits", n_train=100)
    with pytest.raises(SzilardError, match="is in use by process"):
        fit(
            methods.Deterministic(100), "mlp:8", digits,
            epochs=1, out=run, overwrite=True, progress=False, accelerator="cpu",
        )  # fmt: skip
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file() and p.name != lock.NAME} == before
    for reading in (["measure", run, "--samples", 2], ["report", run]):  # reading needs no lock
        assert szilard(*reading).code == 0


def test_a_refused_run_leaves_no_folder(tmp_path):
    szilard("fit", *TINY, "--lr", "-1", "--out", tmp_path / "a" / "b").refused("must be positive")
    assert list(tmp_path.iterdir()) == []


@needs_fork
def test_the_same_command_twice_and_sigterm(tmp_path):
    """The second command is refused; SIGTERM ends the first cleanly, with a checkpoint."""
    run = tmp_path / "a run"
    long = (*TINY, "--no-baselines", "--epochs", "50000", "--out", run, "--quiet")
    first = Forked(command("fit", *long))
    log = run / "ssvi" / "metrics.jsonl"
    while not log.is_file() and first.poll() is None:
        time.sleep(0.01)
    szilard("fit", *long, "--overwrite").refused(f"in use by process {first.pid} on")
    first.send_signal(signal.SIGTERM)
    _, message = first.communicate(timeout=600)
    assert (first.returncode, message.splitlines()[-1]) == (
        143,
        f"error: stopped by SIGTERM; the files in {run} are complete; continue with szilard fit --out '{run}' --resume "
        "--accelerator cpu",
    )
    state = checkpoint.load(run / "ssvi" / "checkpoint.pt", "checkpoint")
    assert state["step"] >= json.loads(log.read_text().splitlines()[-1])["step"]  # no finished step is lost
    assert leftovers(run) == []
