"""szilard encode: Ctrl-C, full disks, resuming, and the progress that is shown."""

from __future__ import annotations

import errno
import os
import re
import signal

import pytest

pytest.importorskip("xarray", reason="pip install 'szilard[field]'")
pytest.importorskip("zarr", reason="pip install 'szilard[field]'")
pytest.importorskip("netCDF4", reason="pip install 'szilard[field]'")

from cli_tools import szilard
from field_files import netcdf, quick_fits
from forked import needs_fork

from szilard import interrupts
from szilard.cli.fields import progress_bar
from szilard.fields import calls

COMMAND = (
    "encode",
    "in.nc",
    "-o",
    "s.zarr",
    "--bound",
    "t=0.05",
    "--chunks",
    "time=1",
    "--workers",
    "1",
    "-q",
)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    quick_fits(monkeypatch)
    monkeypatch.chdir(tmp_path)
    netcdf(tmp_path / "in.nc")


def chunks(folder):
    return sorted(path.parts[-3] for path in folder.glob("t/c/*/*/*"))


def stopped(monkeypatch, error, after=3):
    """Run the command, in which an error occurs after some chunks."""
    whole, count = calls.encoded, iter(range(after))

    def encoded(*given):
        if next(count, None) is None:
            raise error
        return whole(*given)

    with monkeypatch.context() as patch:
        patch.setattr(calls, "encoded", encoded)
        return szilard(*COMMAND)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_says_how_to_continue(tmp_path, monkeypatch, number):
    typed = stopped(monkeypatch, interrupts.Interrupted(number))
    assert typed.code == 128 + number
    assert "; s.zarr is not complete; continue with the same command and --resume" in typed.output
    assert not (tmp_path / "s.zarr").exists()
    assert len(chunks(tmp_path / "s.zarr.unfinished" / "store")) == 3
    szilard(*COMMAND).refused("did not finish; add --resume to continue it, or --overwrite to start anew")
    szilard(*COMMAND, "--seed", 1, "--resume").refused(
        r"other settings \(seed\); give the same, or add --overwrite"
    )
    assert szilard(*COMMAND, "--resume").code == 0
    assert len(chunks(tmp_path / "s.zarr")) == 10
    assert not (tmp_path / "s.zarr.unfinished").exists()
    assert szilard("verify", "s.zarr", "--original", "in.nc").code == 0


def test_a_full_disk_says_how_to_continue(tmp_path, monkeypatch):
    replace = os.replace

    def full(source, target):
        if "/c/4/" in str(target):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        szilard(*COMMAND).refused(
            "the disk is full: .*c/4/0/0 could not be written .* and type the same command with --resume"
        )
    assert not (tmp_path / "s.zarr").exists()
    assert szilard(*COMMAND, "--resume").code == 0
    assert szilard("verify", "s.zarr").code == 0


def test_lines_without_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(progress_bar, "_LINES", -1.0)
    assert szilard(*COMMAND[:-1]).code == 0
    with progress_bar.shown(quiet=False) as told:
        told.status("writing t\x1b[2J")
        told.start(2, 4_000_000)
        told.advance("t", 1_000_000, 50_000)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == r"writing t\x1b[2J"
    assert lines[-1].endswith(": 1 MB → 50 kB, 20.0×, 25 %")


@needs_fork
def test_the_bar_fits_a_terminal():
    from terminal_tools import terminal

    seen = terminal(80, *COMMAND[:-1])
    assert seen.code == 0, seen.text
    bars = [line for line in re.split(r"[\r\n]", seen.text) if "━" in line]
    assert bars
    assert all(len(line) <= 80 for line in bars)
    assert re.search(r"writing t ━+ 28\.8 kB → [\d.]+ kB, [\d.]+× 00:0\d", bars[-1])
    assert all(len(line) <= 80 for line in seen.lines)
