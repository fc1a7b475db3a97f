"""A lock that is free in a forked process."""

from __future__ import annotations

import os
import threading
import weakref


class Lock:
    """A reentrant lock for ``with``. In a child of ``os.fork`` it is free, even if a thread of the parent held it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        if hasattr(os, "register_at_fork"):
            mine = weakref.ref(self)
            os.register_at_fork(after_in_child=lambda: _open(mine()))

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()


def _open(lock: Lock | None) -> None:
    if lock is not None:
        lock._lock = threading.RLock()
