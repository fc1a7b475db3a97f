"""File locks of the operating system: they are released when the process that holds them ends, even if killed."""

from __future__ import annotations

import errno

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_HELD = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}


def take(handle: int, *, shared: bool = False, wait: bool = False) -> bool | None:
    """Lock an open file.

    Args:
        handle: its descriptor. The lock belongs to the open file: a second ``open`` of the same path conflicts with it,
            even in the same process, and a forked child shares it until the child closes its copy.
        shared: take a shared lock; several processes can hold one at the same time.
        wait: block until the lock is free.

    Returns:
        True: locked; False: another process holds it; None: this system or file system has no such locks.
    """
    if fcntl is None:
        return None
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(handle, kind if wait else kind | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in _HELD else None
    return True
