"""Processes that are forked from this one, for tests of what happens to a process: kills, signals, terminals, locks.

A forked process has its own identity, environment, streams and handlers of signals, and all modules are loaded, which
saves the seconds that a new process takes to import torch. A test of imports needs a new process.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

import pytest
import torch

#: Autograd does not work in a fork of a process in which it has used threads for a device.
possible = hasattr(os, "fork") and not torch.accelerator.is_available()
needs_fork = pytest.mark.skipif(not possible, reason="processes with devices cannot be forked")
_RESET = ("SIGINT", "SIGTERM", "SIGHUP", "SIGPIPE")


class Forked:
    """A process that runs a function; a subset of ``subprocess.Popen`` with text streams.

    Args:
        work: the function. ``SystemExit`` ends the process with its code; another exception is printed, with code 1.
        environment: variables that are added to those of this process.
        streams: descriptors of input, output and error, of a terminal for example; None: a pipe, for errors a file.

    Attributes:
        pid: of the process.
        returncode: None while it runs, and negative for a signal that ended it.
        stdin, stdout: of the process, for this one; only of pipes.
    """

    def __init__(
        self,
        work: Callable[[], object],
        environment: Mapping[str, str] | None = None,
        streams: tuple[int | None, int | None, int | None] = (None, None, None),
    ) -> None:
        self.returncode: int | None = None
        # A file, because a pipe that nobody reads would stop the process.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        (theirs_in, ours_in), (ours_out, theirs_out) = os.pipe(), os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks of processes with threads
            self.pid = os.fork()
        if self.pid == 0:
            os.close(ours_in)
            os.close(ours_out)
            own = (theirs_in, theirs_out, self._errors.fileno())
            _run(work, environment or {}, [a if b is None else b for a, b in zip(own, streams, strict=True)])
        os.close(theirs_in)
        os.close(theirs_out)
        self.stdin, self.stdout = os.fdopen(ours_in, "w"), os.fdopen(ours_out)

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float = 600) -> int:
        patience = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > patience:
                self.kill()
                pytest.fail(f"the process did not end within {timeout} s: {self._error()}")
            time.sleep(0.005)
        assert self.returncode is not None
        return self.returncode

    def communicate(self, text: str = "", timeout: float = 600) -> tuple[str, str]:
        """Send this input, wait for the end, and return standard output and error."""
        with contextlib.suppress(BrokenPipeError):
            self.stdin.write(text)
            self.stdin.close()
        output = self.stdout.read()
        self.stdout.close()
        self.wait(timeout)
        return output, self._error()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _error(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")


def command(*arguments: object) -> Callable[[], None]:
    """The ``szilard`` command with these arguments, as its entry point runs it."""

    def work() -> None:
        from szilard import interrupts
        from szilard.__main__ import main

        interrupts._state.__init__()
        sys.argv = ["szilard", *map(str, arguments)]
        main()

    return work


def _run(work: Callable[[], object], environment: Mapping[str, str], streams: Sequence[int]) -> NoReturn:
    """The forked process: as if it had just started with these streams."""
    code = 1
    try:
        for name in _RESET:
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        sys.stdin, sys.stdout, sys.stderr = (
            io.TextIOWrapper(os.fdopen(number, mode), "utf-8", line_buffering=number > 0)
            for number, mode in enumerate(("rb", "wb", "wb"))
        )
        os.environ.update(environment)
        torch.set_num_threads(1)
        work()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(code)
