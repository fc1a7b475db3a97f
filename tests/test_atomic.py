"""Atomic writes: file names, modes, symbolic links, concurrent writers."""

from __future__ import annotations

import os
import pickle
import stat
import subprocess
import sys
import threading

import pytest
from cli_tools import environment

from szilard import SzilardError, atomic, flock

posix = pytest.mark.skipif(os.name != "posix", reason="modes and links of a POSIX system")


def names(folder):
    return sorted(p.name for p in folder.iterdir())


@posix
def test_a_new_file_follows_the_umask_and_an_existing_one_keeps_its_mode(tmp_path):
    before = os.umask(0o027)
    try:
        atomic.write(tmp_path / "new", b"1")
        (tmp_path / "private").write_bytes(b"")
        (tmp_path / "private").chmod(0o600)
        (tmp_path / "shared").write_bytes(b"")
        (tmp_path / "shared").chmod(0o666)
        for name in ("private", "shared"):
            atomic.write(tmp_path / name, b"2")
    finally:
        os.umask(before)
    modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("new", "private", "shared")}
    assert modes == {"new": 0o640, "private": 0o600, "shared": 0o666}


@posix
def test_follow_replaces_the_target_of_a_symbolic_link(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_bytes(b"old")
    (tmp_path / "link").symlink_to("there/file")
    atomic.write(tmp_path / "link", b"new", follow=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there" / "file").read_bytes() == b"new"
    (tmp_path / "dangling").symlink_to("there/later")
    atomic.write(tmp_path / "dangling", b"new", follow=True)
    assert (tmp_path / "there" / "later").read_bytes() == b"new"
    assert names(tmp_path / "there") == ["file", "later"]
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(SzilardError, match=r"could not be written|symbolic links"):
        atomic.write(tmp_path / "loop" / "file", b"", follow=True)


@posix
def test_without_follow_a_symbolic_link_is_not_followed(tmp_path):
    """An untrusted run folder must not make Szilard write outside it."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    (tmp_path / "report.html").symlink_to(secret)
    atomic.write(tmp_path / "report.html", b"page")
    assert secret.read_bytes() == b"secret"
    assert (tmp_path / "report.html").read_bytes() == b"page"
    assert not (tmp_path / "report.html").is_symlink()
    (tmp_path / "metrics.jsonl").symlink_to(secret)
    with pytest.raises(SzilardError, match="could not be written"):
        atomic.append(tmp_path / "metrics.jsonl", "{}")
    assert secret.read_bytes() == b"secret"


@posix
def test_a_named_pipe_is_written_to_directly(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    got = []
    reader = threading.Thread(target=lambda: got.append(fifo.read_bytes()))
    reader.start()
    atomic.write(fifo, b"x" * 100_000, follow=True)
    reader.join()
    assert got == [b"x" * 100_000]
    assert names(tmp_path) == ["fifo"]


@posix
def test_standard_output_redirected_to_a_file_is_appended_to(tmp_path):
    code = (
        "from pathlib import Path; from szilard import atomic\n"
        "atomic.write(Path('/dev/stdout'), b'two', follow=True)"
    )
    log = tmp_path / "log"
    log.write_bytes(b"one ")
    with log.open("ab") as output:
        subprocess.run([sys.executable, "-c", code], env=environment(), stdout=output, check=True)
    assert log.read_bytes() == b"one two"


def test_concurrent_writers_of_one_file(tmp_path):
    """The last writer wins, and the file always has the complete content of one writer."""
    path = tmp_path / "file"
    contents = {bytes([65 + i]) * 50_000 for i in range(6)}
    seen, problems = set(), []

    def write(content):
        try:
            for _ in range(10):
                atomic.write(path, content)
                seen.add(path.read_bytes())
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert seen <= contents
    assert names(tmp_path) == ["file"]


@pytest.mark.skipif(flock.fcntl is None, reason="no file locks here")
def test_only_stale_temporary_files_are_removed(tmp_path):
    pid = os.getpid()  # a running process: the process id alone does not show that a file is in use
    dead, live = tmp_path / f".file.{pid}.00000000.tmp", tmp_path / f".file.{pid}.00000001.tmp"
    others = [
        tmp_path / name for name in (".file.tmp", "mine.tmp", ".vim.1.swp", f".other.{pid}.00000000.tmp")
    ]
    for path in (dead, live, *others):
        path.write_bytes(b"half")
    with live.open("rb+") as file:
        assert flock.take(file.fileno())
        atomic.write(tmp_path / "file", b"whole")  # removes the stale files of this target
        assert not dead.exists()
        atomic.remove_leftovers(tmp_path)  # removes the stale files of every target
    assert names(tmp_path) == sorted([live.name, ".file.tmp", "mine.tmp", ".vim.1.swp", "file"])


def test_long_file_names_are_written(tmp_path):
    for name in ("a" * 240, "ä" * 120):
        atomic.write(tmp_path / name, b"x")
        assert (tmp_path / name).read_bytes() == b"x"
    assert len(names(tmp_path)) == 2


def test_the_error_keeps_its_advice_when_pickled():
    error = pickle.loads(pickle.dumps(atomic.NotWritten("no room", "make room", " and run it again")))
    assert str(error) == "no room; make room and run it again"
    assert str(error.advised("go on")) == "no room; make room and go on"
