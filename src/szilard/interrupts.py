"""Signals that stop a command: Ctrl-C, SIGTERM (a scheduler), SIGHUP (the terminal was closed).

Only the command line installs handlers; importing szilard in another program changes no handlers.
The first signal ends the command with an exception, so that files and locks are cleaned up. Training handles
it at the end of a step, when a checkpoint can be written. A second signal ends the process at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

_ECHO = 0.5  # seconds in which a second signal is ignored: launchers forward the terminal's signals


class Interrupted(KeyboardInterrupt):
    """A signal has stopped this process.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@dataclass
class _State:
    """Signal state of this process; there is one instance, because signals concern the whole process."""

    owner: int = (
        -1
    )  # process in which handlers were installed; a forked child must not clean up its parent's work
    running: bool = False  # a command runs, which an exception can end
    later: int = 0  # nesting depth of blocks that check for the signal themselves
    over: bool = False  # the command has finished
    number: int | None = None
    when: float = 0.0


_state = _State()


def install() -> None:
    """Handle the signals, in the main thread of a process that the command line owns."""
    _state.owner = os.getpid()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # A signal that the parent process ignores (SIGHUP under nohup) stays ignored.
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _handle)


def _handle(number: int, frame: FrameType | None) -> None:
    if os.getpid() != _state.owner:
        os._exit(128 + number)
    if _state.over:
        return
    if _state.number is not None:
        if time.monotonic() - _state.when > _ECHO:
            os._exit(128 + number)
        return
    _state.number, _state.when = number, time.monotonic()
    if not _state.running:  # nothing has begun that needs a cleanup
        with contextlib.suppress(OSError):
            os.write(2, f"error: {called(number)}; nothing was written\n".encode())
        os._exit(128 + number)
    if not _state.later:
        raise Interrupted(number)


@contextlib.contextmanager
def command() -> Iterator[None]:
    """While a command runs, a signal raises an exception; after it has finished, signals are ignored."""
    _state.running = True
    try:
        yield
    finally:
        _state.over = _state.owner == os.getpid()


@contextlib.contextmanager
def later() -> Iterator[None]:
    """Inside the block a signal is only recorded: check :func:`asked` and raise :class:`Interrupted` when possible."""
    _state.later += 1
    try:
        yield
    finally:
        _state.later -= 1
    if _state.number is not None and not _state.later:  # it came after the last check
        raise Interrupted(_state.number)


def asked() -> int | None:
    """Number of the signal that was received, or None."""
    return _state.number


def called(number: int) -> str:
    """A signal in words."""
    return "interrupted" if number == signal.SIGINT else f"stopped by {signal.Signals(number).name}"
