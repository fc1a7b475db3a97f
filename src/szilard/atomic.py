"""Atomic writes: a file is either complete or not there."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
from pathlib import Path

from szilard import flock
from szilard.errors import SzilardError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_POSIX = os.name == "posix"
_LONGEST = 150  # bytes of the file's name in the name of its temporary file
_OPEN_FILES = ("/dev/std", "/dev/fd/", "/proc/")  # can point to an ordinary file, which must not be replaced
# ".name.pid.tmp" was the name before 0.2.
_TEMPORARY = re.compile(r"\.(?P<name>.+?)\.(?P<pid>\d+)(\.[0-9a-f]{8})?\.tmp", re.DOTALL)


class NotWritten(SzilardError):
    """A file that could not be written.

    Attributes:
        what: what happened, and where.
        fix: how to remove the cause.
        then: what to do afterwards; a caller that knows the command sets it with :meth:`advised`.
    """

    def __init__(self, what: str, fix: str, then: str = "") -> None:
        super().__init__(f"{what}; {fix}{then}")
        self.what, self.fix, self.then = what, fix, then

    def __reduce__(self) -> tuple[type[NotWritten], tuple[str, str, str]]:
        return NotWritten, (self.what, self.fix, self.then)

    def advised(self, command: str) -> NotWritten:
        """The same error, with the command to continue once the cause is removed."""
        return NotWritten(self.what, self.fix, f" and {command}")


def write(path: Path, content: bytes, *, follow: bool = False) -> None:
    """Replace ``path`` by a file of ``content`` atomically: after a kill or a power cut it is the old or the new file.

    The bytes are written to a temporary file in the same folder and synced to disk; then the file is renamed. The
    temporary name is unique to this call: with several writers, the last one wins and its file is complete. An existing
    file keeps its mode; a new one gets the mode that the umask allows. Temporary files that killed writers of the same
    file have left are removed.

    Args:
        follow: for a path that the user has typed. A symbolic link is then kept, and the file it points to is replaced;
            devices and pipes (``/dev/stdout``, a FIFO) are written to directly. Without it a link is replaced, so that
            a link in an untrusted folder cannot make szilard write outside that folder.

    Raises:
        NotWritten: the disk is full or the folder is not writable; ``path`` is then unchanged.
    """
    if follow:
        if _is_device(path):
            _write_through(path, content)
            return
        path = Path(os.path.realpath(path))
    sweep(path.parent, path.name)
    try:
        mode = (
            stat.S_IMODE(path.lstat().st_mode) & 0o777 if path.is_file() and not path.is_symlink() else None
        )
        while not _replace(path, content, mode):
            pass
        sync_folder(path.parent)
    except OSError as error:
        raise refusal(path, error) from error


def _replace(path: Path, content: bytes, mode: int | None) -> bool:
    """One attempt; False if another process removed the temporary file as a leftover before it was locked."""
    temporary = path.with_name(f".{_cut(path.name)}.{os.getpid()}.{secrets.token_hex(4)}.tmp")

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_EXCL | _NO_LINK, 0o666 if mode is None else mode)

    try:
        with open(temporary, "wb", opener=opener) as file:
            # Locked as long as the name exists, so that other processes do not remove it as a leftover.
            if flock.take(file.fileno(), wait=True) and not os.fstat(file.fileno()).st_nlink:
                return False
            if mode is not None and _POSIX:
                with contextlib.suppress(OSError):
                    os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            if _POSIX:
                os.replace(temporary, path)
        if not _POSIX:  # Windows: an open file cannot be renamed
            os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return True


def _is_device(path: Path) -> bool:
    """Whether a path is a device, pipe or open file to write into, not a file to replace."""
    if os.path.abspath(path).startswith(_OPEN_FILES):
        return True
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def _write_through(path: Path, content: bytes) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_CLOEXEC", 0))
        with open(handle, "wb", buffering=0) as file:
            rest = memoryview(content)
            while rest:
                rest = rest[file.write(rest) or 0 :]
    except BrokenPipeError:
        raise  # the reader has closed the pipe; the command line handles it
    except OSError as error:
        raise NotWritten(
            f"{path} could not be written ({error.strerror or error})", "name another file"
        ) from error


def append(path: Path, line: str) -> None:
    """Add a line to a text file and sync it to disk. A symbolic link is not followed.

    Raises:
        NotWritten: as :func:`write`; part of the line may have been written, without an end of line.
    """

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | _NO_LINK, 0o666)

    try:
        with open(path, "a", encoding="utf-8", opener=opener) as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise refusal(path, error, partly=True) from error


def make_folder(path: Path) -> list[Path]:
    """Create a folder and its parents.

    Returns:
        the folders that were created, the innermost first.

    Raises:
        SzilardError: the folder cannot be created, or a file has its name.
    """
    try:
        missing = [one for one in (path, *path.parents) if not one.exists()]
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SzilardError(
            f"the folder {path} cannot be created ({error.strerror or error}); name another one"
        ) from error
    return missing


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of processes that were killed while writing here; those in use are kept."""
    sweep(folder, None)


def sweep(folder: Path, name: str | None) -> None:
    """Remove the temporary files of ``name``, or of all files of a folder, that no process is writing."""
    try:
        found = [entry.name for entry in os.scandir(folder) if entry.name.endswith(".tmp")]
    except OSError:
        return
    for temporary in found:
        match = _TEMPORARY.fullmatch(temporary)
        if match is not None and (name is None or match["name"] in (name, _cut(name))):
            with contextlib.suppress(OSError):
                _remove_dead(folder / temporary, int(match["pid"]))


def _remove_dead(temporary: Path, pid: int) -> None:
    handle = os.open(temporary, os.O_RDWR | _NO_LINK | getattr(os, "O_NONBLOCK", 0))
    try:
        free = flock.take(handle)
        if free is None:  # no file locks here: use the process id in the name
            free = not _alive(pid)
        if free and _POSIX:
            temporary.unlink()
    finally:
        os.close(handle)
    if not _POSIX:  # Windows: an open file cannot be removed
        temporary.unlink()


def _alive(pid: int) -> bool:
    if not _POSIX:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _cut(name: str) -> str:
    """A name shortened so that the temporary file's name is not too long."""
    return (
        os.fsencode(name)[:_LONGEST].decode("utf-8", "ignore") if len(os.fsencode(name)) > _LONGEST else name
    )


def sync_folder(folder: Path) -> None:
    """Sync a folder's directory entries to disk, if the system supports it."""
    if not _POSIX:
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def refusal(path: Path, error: OSError, *, partly: bool = False) -> NotWritten:
    """The error for a file that could not be written.

    Args:
        partly: part of it may have been written.
    """
    kept = "" if partly else " and is unchanged"
    if error.errno in _FULL:
        return NotWritten(
            f"the disk is full: {path} could not be written{kept}", "free some space", " and run it again"
        )
    what = f"{path} could not be written ({error.strerror or error}){kept}"
    if error.errno == errno.EFBIG:
        return NotWritten(what, "raise the file size limit (ulimit -f)", " and run it again")
    return NotWritten(what, "make the folder writable", " or name another one")
