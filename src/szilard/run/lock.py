"""A lock on a run folder that a process holds while it trains; it is released when the process ends."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import stat
import threading
import time
import warnings
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from szilard import atomic, flock
from szilard.errors import SzilardError, SzilardWarning

NAME = ".lock"
_ATTEMPTS, _PAUSE = 5, 0.02  # a process that checks whether the lock is held takes it for a moment
_MOST = 4096  # bytes read from a lock file

_open: set[int] = set()  # descriptors of this process's locks
_whole: dict[str, int] = {}  # run folders that are held as a whole, with the id of the thread that holds each


def _forget() -> None:
    """A forked child shares its parent's locks until it closes them; they must not outlive the parent."""
    for handle in list(_open):
        with contextlib.suppress(OSError):
            os.close(handle)
    _open.clear()
    _whole.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


@contextlib.contextmanager
def run(folder: Path) -> Iterator[None]:
    """Lock a whole run folder: no other run can start in it, nor in a method's folder inside.

    The folder is created, and removed afterwards if it is empty. The same thread can take the lock several times.

    Raises:
        SzilardError: another process or thread uses the folder, or the folder cannot be created.
    """
    key = os.path.realpath(folder)
    if _whole.get(key) == threading.get_ident():
        yield
        return
    with _held(folder, shared=False):
        _whole[key] = threading.get_ident()
        try:
            yield
        finally:
            _whole.pop(key, None)


@contextlib.contextmanager
def method(folder: Path) -> Iterator[None]:
    """Lock a method's folder, so that several methods can train in one run folder at the same time.

    Raises:
        SzilardError: as :func:`run`.
    """
    with contextlib.ExitStack() as stack:
        if _whole.get(os.path.realpath(folder.parent)) != threading.get_ident():
            stack.enter_context(_held(folder.parent, shared=True))
        stack.enter_context(_held(folder, shared=False))
        yield


@contextlib.contextmanager
def _held(folder: Path, *, shared: bool) -> Iterator[None]:
    made = atomic.make_folder(folder)
    path = folder / NAME
    handle = None
    try:
        handle = _take(path, made, shared=shared)
        yield
    finally:
        if handle is not None:
            _release(path, handle)
        for one in made:
            with contextlib.suppress(OSError):  # the folder is not empty
                one.rmdir()


def _take(path: Path, made: list[Path], *, shared: bool) -> int:
    for _ in range(_ATTEMPTS):
        handle = _opened(path, made)
        _open.add(handle)
        got = flock.take(handle, shared=shared)
        if got is None:
            warnings.warn(
                f"{path.parent} is on a file system without locks, so a second run in it is not prevented; make sure "
                "that there is none",
                SzilardWarning,
                stacklevel=2,
            )
        if got is not False and _is(path, handle):
            _sign(handle, shared=shared)
            return handle
        who = "" if got is not False else _holder(handle)
        _close(handle)
        if got is False:
            time.sleep(_PAUSE)
    raise SzilardError(
        f"{path.parent} is in use by {who or _inside(path.parent) or 'another run'}; wait until it ends or stop it, or "
        "name another folder"
    )


def _opened(path: Path, made: list[Path]) -> int:
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        try:
            handle = os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o666)
        except FileNotFoundError:  # the process that had created the folder has just removed it
            made[:] = atomic.make_folder(path.parent)
            handle = os.open(path, flags, 0o666)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise OSError(errno.EINVAL, "it is not an ordinary file")
    except OSError as error:
        raise SzilardError(
            f"the lock file {path} cannot be opened ({error.strerror or error}); make the folder writable, remove that "
            "file, or name another folder"
        ) from error
    return handle


def _is(path: Path, handle: int) -> bool:
    """Whether an open file still has its name: the previous holder of the lock can have removed it."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(handle))
    except OSError:
        return False


def _sign(handle: int, *, shared: bool) -> None:
    """Write the name of this process into the lock file; a shared lock is signed in the folders of the methods."""
    who = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    with contextlib.suppress(OSError):  # the lock works on a full disk, too
        os.ftruncate(handle, 0)
        if not shared:
            os.lseek(handle, 0, os.SEEK_SET)
            os.write(handle, json.dumps(who).encode())


def _holder(handle: int) -> str:
    """The process that has signed a lock file, or "". The content of the file is not trusted."""
    try:
        os.lseek(handle, 0, os.SEEK_SET)
        who = json.loads(os.read(handle, _MOST))
        pid, host, started = int(who["pid"]), str(who["host"]), datetime.fromisoformat(who["started"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return ""
    if not host.isascii() or not host.isprintable() or len(host) > 255:
        host = "?"
    if pid == os.getpid() and host == socket.gethostname():
        return f"this process ({pid}), which has trained in it since {started:%Y-%m-%d %H:%M:%S}"
    return f"process {pid} on {host}, which has trained in it since {started:%Y-%m-%d %H:%M:%S}"


def _inside(folder: Path) -> str:
    """The process that holds a method's folder inside, or ""."""
    for path in sorted(folder.glob(f"*/{NAME}")):
        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0))
            try:
                if flock.take(handle, shared=True) is False:
                    return _holder(handle)
            finally:
                os.close(handle)
    return ""


def _release(path: Path, handle: int) -> None:
    # Removed while no other process can hold the lock; a process that has opened the file sees that it is gone.
    if handle in _open and flock.take(handle) is not False and _is(path, handle):
        with contextlib.suppress(OSError):
            path.unlink()
    _close(handle)


def _close(handle: int) -> None:
    if handle in _open:
        _open.discard(handle)
        with contextlib.suppress(OSError):
            os.close(handle)
