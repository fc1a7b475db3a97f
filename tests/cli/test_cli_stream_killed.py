"""szilard stream: kill and resume, full disks, links, locks."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from cli_tools import environment, szilard
from stream_tables import COLUMNS, FILES, contents, drifting, table

from szilard import interrupts
from szilard.run import lock


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "szilard", "stream", *map(str, arguments)],
        env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def kill(process, path, size, number):
    """Send a signal when a file is larger than ``size``; exit code and standard error."""
    patience = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < patience:
        if path.is_file() and path.stat().st_size > size:
            break
        time.sleep(0.002)
    process.send_signal(number)
    _, message = process.communicate(timeout=300)
    return process.returncode, message


def killed_in_a_fork(path, size, *arguments):
    """Start a stream in a copy of this process, which has imported everything, and kill it; whether it was running."""
    child = os.fork()
    if not child:
        try:
            szilard("stream", *arguments)
        finally:
            os._exit(0)
    while not (path.is_file() and path.stat().st_size > size) and os.waitpid(child, os.WNOHANG) == (0, 0):
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


posix = pytest.mark.skipif(os.name != "posix", reason="signals of a POSIX system")


@posix
def test_a_killed_stream_ends_with_the_same_bytes(tmp_path):
    data = drifting(tmp_path / "long.csv", 240, gaps=[(70, 1), (80, 3)])
    options = (data, *COLUMNS, "--method", "vbs")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert szilard("stream", *options, "--out", whole, "-q").code == 0
    assert killed_in_a_fork(
        killed / "predictions.csv", 3000, *options, "--out", killed, "-q", "--checkpoint-rows", 20
    )
    assert not (killed / "result.json").exists()
    szilard("stream", drifting(tmp_path / "other.csv", 50, seed=9), "--out", killed, "--resume").refused(
        r"has read \d+ of 240 rows of long\.csv, and .*other\.csv is another file, or has changed; finish long\.csv"
    )
    with open(killed / "predictions.csv", "a") as file:
        file.write("1,2,written after the last state")
    typed = szilard("stream", data, "--out", killed, "-q", "--resume")
    assert typed.code == 0, typed.output
    assert contents(killed) == contents(whole)
    assert {path.name for path in killed.iterdir()} == FILES


@posix
@pytest.mark.slow
@pytest.mark.parametrize("method", ["bank", "vbs", "bocd"])
@pytest.mark.parametrize("target", ["up", "price"])
def test_a_stream_that_is_killed_again_and_again(tmp_path, method, target):
    data = drifting(tmp_path / "long.csv", 3000, gaps=[(7, 1), (70, 1), (80, 3)])
    options = (data, "--target", target, "--time", "when", "--method", method)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert szilard("stream", *options, "--out", whole, "-q").code == 0
    draws = random.Random(0)
    predictions: Path = killed / "predictions.csv"
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
        size = predictions.stat().st_size if predictions.is_file() else 0
        process = start(*options, "--out", killed, "-q", "--resume", "--checkpoint-rows", 7)
        code, message = kill(process, predictions, size + draws.randrange(30_000), number)
        if code == 0:
            break
        assert code == (-number if number == signal.SIGKILL else 128 + number), message
        if number != signal.SIGKILL:
            assert f"; continue with szilard stream {data} --out {killed} --resume" in message
    assert szilard("stream", data, "--out", killed, "-q", "--resume").code == 0
    assert contents(killed) == contents(whole)


def test_an_interrupted_stream_says_how_to_continue(tmp_path, monkeypatch):
    data = drifting(tmp_path / "t.csv", 80)
    rows = iter(range(1000))
    with monkeypatch.context() as patch:
        patch.setattr(interrupts, "asked", lambda: signal.SIGTERM if next(rows) == 30 else None)
        typed = szilard("stream", data, *COLUMNS, "--out", tmp_path / "run", "-q")
    assert typed.code == 128 + signal.SIGTERM
    assert (
        f"stopped by SIGTERM; continue with szilard stream {data} --out {tmp_path / 'run'} --resume"
        in typed.output
    )
    assert len(table(tmp_path / "run" / "predictions.csv")) == 31
    assert szilard("stream", data, "--out", tmp_path / "run", "--resume", "-q").code == 0
    assert szilard("stream", data, *COLUMNS, "--out", tmp_path / "whole", "-q").code == 0
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_a_full_disk_says_how_to_continue(tmp_path, monkeypatch):
    data = drifting(tmp_path / "t.csv", 80)
    options = (data, *COLUMNS, "--out", tmp_path / "run", "-q")
    syncs = iter(range(1000))

    def full(handle, sync=os.fsync):
        if next(syncs) == 7:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        szilard("stream", *options, "--checkpoint-rows", 20).refused(
            rf"the disk is full: .* continue with szilard stream {data} --out {tmp_path / 'run'} --resume"
        )
    assert szilard("stream", data, "--out", tmp_path / "run", "--resume", "-q").code == 0
    assert szilard("stream", data, *COLUMNS, "--out", tmp_path / "whole", "-q").code == 0
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


@posix
def test_links_in_a_folder_are_not_followed(tmp_path):
    data = drifting(tmp_path / "t.csv", 40)
    run, mine = tmp_path / "run", tmp_path / "mine.csv"
    assert szilard("stream", data, *COLUMNS, "--out", run, "-q").code == 0
    mine.write_text("mine\n" * 10_000)
    (run / "predictions.csv").unlink()
    (run / "predictions.csv").symlink_to(mine)
    szilard("stream", data, "--out", run, "--resume").refused(r"predictions\.csv could not be written")
    assert mine.read_text() == "mine\n" * 10_000


def test_names_from_a_file_are_printed_safely(tmp_path):
    data = tmp_path / "t.csv"
    label = "=\u202ecmd"
    data.write_text("x,\x1b[31my\n" + "".join(f"{i % 5}.5,{label if i % 2 else 'b'}\n" for i in range(40)))
    typed = szilard("stream", data, "--target", "\x1b[31my", "--out", tmp_path / "r")
    assert typed.code == 0, typed.output
    written = (tmp_path / "r" / "predictions.csv").read_text()
    for text in (typed.output, written, (tmp_path / "r" / "report.html").read_text()):
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert table(tmp_path / "r" / "predictions.csv")[1]["target"] == "'=\\u202ecmd"


def test_few_rows_have_no_figures(tmp_path):
    data = tmp_path / "t.csv"
    data.write_text("x,y\n1.5,2.5\n2.5,3.25\n3.5,1.25\n")
    typed = szilard("stream", data, "--target", "y", "--out", tmp_path / "r")
    assert typed.code == 0, typed.output
    assert "0 of 3 rows are scored" in typed.output
    assert "Few rows" not in typed.output
    assert json.loads((tmp_path / "r" / "result.json").read_text())["rate"] == 1
    assert "NLL" not in typed.output
    assert (tmp_path / "r" / "weights.csv").read_text() == "feature,mean,std,center,scale\n"
    lines = table(tmp_path / "r" / "predictions.csv")
    assert [line["prediction"] for line in lines] == ["", "2.5", "2.875"]  # the mean of the targets so far


def test_two_streams_do_not_share_a_folder(tmp_path):
    data = drifting(tmp_path / "t.csv", 40)
    with lock.run(tmp_path / "run"):
        # The same thread could take the lock again, so another one tries.
        found = []
        thread = threading.Thread(
            target=lambda: found.append(szilard("stream", data, *COLUMNS, "--out", tmp_path / "run"))
        )
        thread.start()
        thread.join()
    found[0].refused("is in use by")
