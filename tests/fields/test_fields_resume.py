"""Writes that are killed, refused, replaced, or run out of space."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("xarray", reason="pip install 'szilard[field]'")
pytest.importorskip("zarr", reason="pip install 'szilard[field]'")

import zarr
from field_stores import codecs, dataset

from szilard import atomic, flock
from szilard.atomic import NotWritten
from szilard.errors import SzilardError
from szilard.fields import calls, check, inspect, template, write

ROOT = Path(__file__).parents[2]
FIT = codecs(t=1, u=1)
OPTIONS = {"chunks": {"time": 2}, "fit": FIT}

KILLED = """
import os, signal, sys
from field_stores import codecs, dataset
from szilard.fields import write

class Killer:
    left = 6
    def status(self, text): pass
    def start(self, total_chunks, raw_bytes): pass
    def advance(self, variable, raw_bytes, written_bytes):
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)

write(dataset(), sys.argv[1], 0.05, chunks={"time": 2}, fit=codecs(t=1, u=1), workers=1, progress=Killer())
"""


def chunks(folder):
    return {str(file.relative_to(folder)): file.stat().st_mtime_ns for file in folder.rglob("c/*/*/*")}


def stopped(monkeypatch, path, after=3, **options):
    """A write that fails after some chunks."""
    whole, count = calls.encoded, iter(range(after))

    def encoded(*given):
        if next(count, None) is None:
            raise RuntimeError("stopped")
        return whole(*given)

    with monkeypatch.context() as patch:
        patch.setattr(calls, "encoded", encoded)
        with pytest.raises(RuntimeError, match="stopped"):
            write(dataset(), path, 0.05, **{**OPTIONS, "workers": 1, **options})


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_write_that_was_killed_goes_on_where_it_was(tmp_path):
    path, data = tmp_path / "s", dataset()
    outside = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests" / "support")]),
    }
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", KILLED, str(path)], env=outside, check=False)
    assert done.returncode == -signal.SIGKILL
    unfinished = tmp_path / "s.unfinished" / "store"
    before = chunks(unfinished)
    assert len(before) == 6
    assert not path.exists()
    with pytest.raises(SzilardError, match="earlier write that did not finish"):
        write(data, path, 0.05, **OPTIONS)
    written = write(data, path, 0.05, resume=True, **OPTIONS)
    after = chunks(path)
    assert len(after) == 10
    assert before.items() <= after.items()
    assert {name: one.new_chunks for name, one in written.variables.items()} == {"t": 0, "u": 4}
    assert not (tmp_path / "s.unfinished").exists()
    assert check(path, data).ok
    write(data, tmp_path / "whole", 0.05, **OPTIONS)
    for name in after:
        assert (path / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bound": 0.1}, "other settings .bound"),
        ({"bound": {"t": 0.05}}, "another dataset|other settings"),
        ({"chunks": {"time": 3}}, "other settings .chunks"),
        ({"periodic": False}, "other settings .periodic"),
        ({"seed": 1}, "other settings .seed"),
        ({"effort": 0.5}, "other settings .effort"),
        ({"fit": True}, "other settings .fit"),
        ({"dataset": dataset(seed=7)}, "another dataset"),
        ({"dataset": dataset().assign_attrs(source="another")}, "another dataset"),
        ({"dataset": dataset().isel(time=slice(9))}, "another dataset"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_resume_with_other_settings_is_refused(tmp_path, monkeypatch, change, said):
    stopped(monkeypatch, tmp_path / "s")
    before = chunks(tmp_path / "s.unfinished" / "store")
    with pytest.raises(SzilardError, match=said):
        write(
            **{
                "dataset": dataset(),
                "path": tmp_path / "s",
                "bound": 0.05,
                "resume": True,
                **OPTIONS,
                **change,
            }
        )
    assert chunks(tmp_path / "s.unfinished" / "store") == before


def test_a_resume_uses_the_weights_of_the_first_session(tmp_path, monkeypatch):
    stopped(monkeypatch, tmp_path / "s", fit={name: codecs(a=1)["a"] for name in ("t", "u")})
    with monkeypatch.context() as patch:
        patch.setattr(calls, "fitted", None)
        write(dataset(), tmp_path / "s", 0.05, resume=True, **OPTIONS)
    assert check(tmp_path / "s", dataset()).ok


def test_a_resume_writes_damaged_chunks_again(tmp_path, monkeypatch):
    stopped(monkeypatch, tmp_path / "s", after=4)
    files = sorted((tmp_path / "s.unfinished" / "store").rglob("c/*/*/*"))
    whole = {file: file.read_bytes() for file in files}
    files[0].write_bytes(b"")
    files[1].write_bytes(whole[files[1]][:-7])
    files[2].write_bytes(whole[files[2]][:40] + b"x" + whole[files[2]][41:])
    written = write(dataset(), tmp_path / "s", 0.05, resume=True, **OPTIONS)
    assert written.variables["t"].new_chunks == 5 - (len(files) - 3)
    for file, data in whole.items():
        assert (tmp_path / "s" / file.relative_to(tmp_path / "s.unfinished" / "store")).read_bytes() == data
    assert check(tmp_path / "s", dataset()).ok


@pytest.mark.parametrize("resume", [False, True])
def test_a_write_that_stopped_before_its_chunks_starts_anew(tmp_path, monkeypatch, resume):
    with monkeypatch.context() as patch:
        patch.setattr(template, "write", None)
        with pytest.raises(TypeError):
            write(dataset(), tmp_path / "s", 0.05, **OPTIONS)
    (tmp_path / "s.unfinished" / "store").mkdir()
    (tmp_path / "s.unfinished" / "store" / "left").write_text("over")
    write(dataset(), tmp_path / "s", 0.05, resume=resume, **OPTIONS)
    assert check(tmp_path / "s", dataset()).ok
    assert not (tmp_path / "s" / "left").exists()


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "s.unfinished").mkdir()
    (tmp_path / "s.unfinished" / "symphony").write_text("notes")
    for options in ({}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(SzilardError, match="did not write it"):
            write(dataset(), tmp_path / "s", 0.05, **OPTIONS, **options)
    assert (tmp_path / "s.unfinished" / "symphony").read_text() == "notes"


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"format": 2}', '{"format": 1, "settings": 3, "codecs": {}}']
)
def test_a_damaged_memory_of_a_write_is_refused(tmp_path, monkeypatch, text):
    stopped(monkeypatch, tmp_path / "s")
    (tmp_path / "s.unfinished" / "settings.json").write_text(text)
    with pytest.raises(SzilardError, match="overwrite the unfinished store"):
        write(dataset(), tmp_path / "s", 0.05, resume=True, **OPTIONS)
    write(dataset(), tmp_path / "s", 0.05, overwrite=True, **OPTIONS)
    assert check(tmp_path / "s", dataset()).ok


def test_a_store_is_replaced_when_the_new_one_is_complete(tmp_path, monkeypatch):
    path, data = tmp_path / "s", dataset(seed=5)
    write(data, path, {"t": 0.05}, **OPTIONS)
    with pytest.raises(SzilardError, match="exists; name another folder, or overwrite it"):
        write(data, path, 0.05, **OPTIONS)
    with pytest.raises(SzilardError, match="is complete, so that there is nothing to resume"):
        write(data, path, 0.05, resume=True, **OPTIONS)
    stopped(monkeypatch, path, overwrite=True)
    assert check(path, data).ok
    write(dataset(), path, 0.05, overwrite=True, **OPTIONS)
    assert check(path, dataset()).ok
    assert [file.name for file in tmp_path.iterdir()] == ["s"]


def test_what_is_no_store_is_not_overwritten(tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "thesis.tex").write_text("words")
    (tmp_path / "f").write_text("words")
    for name in ("s", "f"):
        with pytest.raises(SzilardError, match="not a zarr store"):
            write(dataset(), tmp_path / name, 0.05, overwrite=True, **OPTIONS)
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["f", "s", "thesis.tex"]


@pytest.mark.parametrize("path", ["s3://bucket/s", "https://host/s"])
def test_other_places_than_folders_are_refused(path):
    with pytest.raises(SzilardError, match="not a local folder"):
        write(dataset(), path, 0.05, **OPTIONS)


def test_what_is_no_path_is_refused():
    store = zarr.storage.MemoryStore()
    with pytest.raises(SzilardError, match="a local folder, not MemoryStore"):
        write(dataset(), store, 0.05, **OPTIONS)
    with pytest.raises(SzilardError, match="a local folder, not MemoryStore"):
        inspect(store)


def test_a_stacked_index_is_refused(tmp_path):
    with pytest.raises(SzilardError, match="is part of a stacked index, which zarr cannot store"):
        write(dataset().stack(place=("lat", "lon")), tmp_path / "s", 0.05, **OPTIONS)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_nothing_that_looks_complete(tmp_path, monkeypatch):
    whole = atomic.write

    def full(path, content, **options):
        if path.parent.name == "0" and "c/3/" in path.as_posix():
            raise atomic.refusal(path, OSError(28, "No space left on device"))
        whole(path, content, **options)

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "write", full)
        with pytest.raises(NotWritten, match="the disk is full"):
            write(dataset(), tmp_path / "s", 0.05, **OPTIONS)
    assert [file.name for file in tmp_path.iterdir()] == ["s.unfinished"]
    write(dataset(), tmp_path / "s", 0.05, resume=True, **OPTIONS)
    assert check(tmp_path / "s", dataset()).ok


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SzilardError, match="cannot be created"):
        write(dataset(), tmp_path / "file" / "s", 0.05, **OPTIONS)


def test_two_processes_do_not_write_the_same_store(tmp_path, monkeypatch):
    stopped(monkeypatch, tmp_path / "s")
    with open(tmp_path / "s.unfinished" / "lock", "ab") as lock:
        if flock.take(lock.fileno()) is not True:
            pytest.skip("this file system has no locks")
        for options in ({"resume": True}, {"overwrite": True}):
            with pytest.raises(SzilardError, match="another process"):
                write(dataset(), tmp_path / "s", 0.05, **OPTIONS, **options)


def test_the_memory_of_a_write_holds_what_it_needs(tmp_path, monkeypatch):
    stopped(monkeypatch, tmp_path / "s")
    state = json.loads((tmp_path / "s.unfinished" / "settings.json").read_text())
    assert set(state["codecs"]) == {"t", "u"}
    assert np.isclose(state["codecs"]["t"]["bound"], 0.05)
