"""A full disk gives a message of one line, and no file is lost."""

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
