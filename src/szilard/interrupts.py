"""Signals that ask the command line to stop: Ctrl-C, SIGTERM (a scheduler), SIGHUP (the terminal has gone).

Only the command line installs handlers; in a program of somebody else's, signals stay as that program has them.
The first signal ends the command with an exception, so that everything is put in order on the way out. Training takes
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

_ECHO = 0.5  # seconds in which a second signal is taken for the first: launchers pass on what the terminal sends, too


class Interrupted(KeyboardInterrupt):
    """A signal has asked this process to stop.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@dataclass
class _State:
    """Of this process; signals are the whole process's, so there is one."""

    owner: int = (
        -1
    )  # process in which handlers were installed; a forked child does not unwind its parent's work
    running: bool = False  # a command runs, which an exception can end
    later: int = 0  # depth of regions that look for the signal themselves
    over: bool = False  # the command has done all it had to do
    number: int | None = None
    when: float = 0.0


_state = _State()


def install() -> None:
    """Handle the signals, in the main thread of a process that the command line owns."""
    _state.owner = os.getpid()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # What whoever started us has switched off, such as SIGHUP by nohup, stays off.
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
    if not _state.running:  # nothing has begun that would have to be put in order
        with contextlib.suppress(OSError):
            os.write(2, f"error: {called(number)}; nothing was written\n".encode())
        os._exit(128 + number)
    if not _state.later:
        raise Interrupted(number)


@contextlib.contextmanager
def command() -> Iterator[None]:
    """While a command runs, a signal is an exception; once it is over, signals change nothing any more."""
    _state.running = True
    try:
        yield
    finally:
        _state.over = _state.owner == os.getpid()


@contextlib.contextmanager
def later() -> Iterator[None]:
    """Within, a signal is only noted: look at :func:`asked` and raise :class:`Interrupted` when it suits."""
    _state.later += 1
    try:
        yield
    finally:
        _state.later -= 1
    if _state.number is not None and not _state.later:  # it came after the last look
        raise Interrupted(_state.number)


def asked() -> int | None:
    """Number of the signal that came, or None."""
    return _state.number


def called(number: int) -> str:
    """A signal in words."""
    return "interrupted" if number == signal.SIGINT else f"stopped by {signal.Signals(number).name}"
