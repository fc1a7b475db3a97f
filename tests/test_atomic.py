"""Files that are whole or not there: names, modes, links, several writers."""

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
def test_a_new_file_has_the_umasks_mode_and_an_old_one_keeps_its_own(tmp_path):
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
def test_a_link_that_a_person_typed_stays_and_its_file_is_replaced(tmp_path):
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
def test_a_link_in_somebodys_folder_leads_nowhere(tmp_path):
    """A run folder of a stranger must not make us write outside it."""
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
def test_what_is_no_file_is_written_to(tmp_path):
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
def test_standard_output_that_is_a_file_is_added_to(tmp_path):
    code = (
        "from pathlib import Path; from szilard import atomic\n"
        "atomic.write(Path('/dev/stdout'), b'two', follow=True)"
    )
    log = tmp_path / "log"
    log.write_bytes(b"one ")
    with log.open("ab") as output:
        subprocess.run([sys.executable, "-c", code], env=environment(), stdout=output, check=True)
    assert log.read_bytes() == b"one two"


def test_many_writers_of_one_file(tmp_path):
    """The last one wins; what is there is always one writer's, whole."""
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
def test_only_leftovers_are_swept(tmp_path):
    pid = os.getpid()  # alive: its number alone does not say whose a file is
    dead, live = tmp_path / f".file.{pid}.00000000.tmp", tmp_path / f".file.{pid}.00000001.tmp"
    others = [
        tmp_path / name for name in (".file.tmp", "mine.tmp", ".vim.1.swp", f".other.{pid}.00000000.tmp")
    ]
    for path in (dead, live, *others):
        path.write_bytes(b"half")
    with live.open("rb+") as file:
        assert flock.take(file.fileno())
        atomic.write(tmp_path / "file", b"whole")  # sweeps what was left of this very file
        assert not dead.exists()
        atomic.remove_leftovers(tmp_path)  # of all files
    assert names(tmp_path) == sorted([live.name, ".file.tmp", "mine.tmp", ".vim.1.swp", "file"])


def test_a_long_name(tmp_path):
    for name in ("a" * 240, "ä" * 120):
        atomic.write(tmp_path / name, b"x")
        assert (tmp_path / name).read_bytes() == b"x"
    assert len(names(tmp_path)) == 2


def test_the_refusal_travels_between_processes_with_its_advice():
    error = pickle.loads(pickle.dumps(atomic.NotWritten("no room", "make room", " and run it again")))
    assert str(error) == "no room; make room and run it again"
    assert str(error.advised("go on")) == "no room; make room and go on"
