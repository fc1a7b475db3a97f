"""Files that are either whole or not there."""

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
_LONGEST = 150  # bytes of a file's name that its temporary file repeats
_OPEN_FILES = ("/dev/std", "/dev/fd/", "/proc/")  # may lead to an ordinary file, which is not ours to replace
# ".name.pid.tmp" was the name before 0.2.
_TEMPORARY = re.compile(r"\.(?P<name>.+?)\.(?P<pid>\d+)(\.[0-9a-f]{8})?\.tmp", re.DOTALL)


class NotWritten(SzilardError):
    """A file that could not be written.

    Attributes:
        what: what happened, and where.
        mend: how to remove the cause.
        then: what to do afterwards; whoever knows more puts a command in its place with :meth:`advised`.
    """

    def __init__(self, what: str, mend: str, then: str = "") -> None:
        super().__init__(f"{what}; {mend}{then}")
        self.what, self.mend, self.then = what, mend, then

    def __reduce__(self) -> tuple[type[NotWritten], tuple[str, str, str]]:
        return NotWritten, (self.what, self.mend, self.then)

    def advised(self, command: str) -> NotWritten:
        """The same, with the way to go on once the cause is gone."""
        return NotWritten(self.what, self.mend, f" and {command}")


def write(path: Path, content: bytes, *, follow: bool = False) -> None:
    """Replace ``path`` by a file of ``content`` in one step: a reader, a kill or a power cut sees old or new.

    The bytes go to a temporary file in the same folder and to the disk before the name changes hands. Its name is
    this call's alone, so of several writers the last one wins, whole. A file that was there keeps its mode; a new one
    has what the umask allows. What killed writers of the same file have left is removed.

    Args:
        follow: for a path that a person has typed. A symbolic link then stays, and the file it points to is replaced;
            what is no file (``/dev/stdout``, a FIFO) is written to directly. Without it a link is replaced, so that a
            folder of somebody else's cannot lead out of itself.

    Raises:
        NotWritten: the disk is full or the folder cannot be written to; ``path`` is then as it was.
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
    """One attempt; False if somebody took the temporary file for a killed process's before it was locked."""
    temporary = path.with_name(f".{_cut(path.name)}.{os.getpid()}.{secrets.token_hex(4)}.tmp")

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_EXCL | _NO_LINK, 0o666 if mode is None else mode)

    try:
        with open(temporary, "wb", opener=opener) as file:
            # Held as long as the name exists: so another process knows that it is no leftover.
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
        if not _POSIX:  # an open file cannot be renamed there
            os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return True


def _is_device(path: Path) -> bool:
    """Whether a path is something to write into rather than a file to replace."""
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
        raise  # whoever read it has gone; the command line knows what to do
    except OSError as error:
        raise NotWritten(
            f"{path} could not be written ({error.strerror or error})", "name another file"
        ) from error


def append(path: Path, line: str) -> None:
    """Add a line to a text file and send it to the disk. A symbolic link is not followed.

    Raises:
        NotWritten: as :func:`write`; part of the line may be there, without an end of line.
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
    """Create a folder and those above it.

    Returns:
        those that were not there, the innermost first.

    Raises:
        SzilardError: it cannot be created, or a file is in its place.
    """
    try:
        missing = [one for one in (path, *path.parents) if not one.exists()]
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SzilardError(
            f"the folder {path} cannot be made ({error.strerror or error}); name another place"
        ) from error
    return missing


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of processes that were killed while writing here; those in use stay."""
    sweep(folder, None)


def sweep(folder: Path, name: str | None) -> None:
    """Remove temporary files that no process is writing, of the file ``name`` or of all files of a folder."""
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
        if free is None:  # no locks here: the name says whose it is
            free = not _alive(pid)
        if free and _POSIX:
            temporary.unlink()
    finally:
        os.close(handle)
    if not _POSIX:  # a file that somebody has open cannot be removed there
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
    """As much of a name as leaves room for the rest of a temporary one."""
    return (
        os.fsencode(name)[:_LONGEST].decode("utf-8", "ignore") if len(os.fsencode(name)) > _LONGEST else name
    )


def sync_folder(folder: Path) -> None:
    """Send a folder's list of names to the disk, where the system can."""
    if not _POSIX:
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def refusal(path: Path, error: OSError, *, partly: bool = False) -> NotWritten:
    """What to tell a user about a file that could not be written.

    Args:
        partly: some of it may have been.
    """
    kept = "" if partly else " and is as it was before"
    if error.errno in _FULL:
        return NotWritten(
            f"the disk is full: {path} could not be written{kept}", "make room", " and run it again"
        )
    what = f"{path} could not be written ({error.strerror or error}){kept}"
    if error.errno == errno.EFBIG:
        return NotWritten(what, "raise the limit on the size of a file (ulimit -f)", " and run it again")
    return NotWritten(what, "make the folder writable", " or name another one")
