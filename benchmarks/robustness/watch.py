"""Monitoring of one call with hostile input: its result, memory, time, and the files and actions outside its input."""

from __future__ import annotations

import os
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MIB = 1 << 20
SLACK = 64 * MIB
FACTOR = 1.5
QUIET = ("Cc", "Cf", "Cs", "Zl", "Zp")  # categories of characters that can control a terminal


@dataclass
class Outcome:
    """The result of a call.

    Attributes:
        value: return value, if there is one.
        refusal: message of the SzilardError, if one was raised.
        wrong: any other exception, or the fault of the message.
        peak: largest increase of resident memory, bytes; None if the system does not report it.
        seconds: CPU time of all threads.
        touched: files that it opened, code that it ran and other actions outside of its input.
    """

    value: Any = None
    refusal: str | None = None
    wrong: str | None = None
    peak: int | None = None
    seconds: float = 0.0
    touched: list[str] = field(default_factory=list)


def watched(call: Callable[[], Any], inputs: tuple[Path, ...] = ()) -> Outcome:
    """Make a call and monitor it.

    Args:
        inputs: files and folders that the call may open.
    """
    from szilard.errors import SzilardError

    found = Outcome()
    before = reset_peak()
    started = time.process_time()
    with WATCH.over(inputs) as touched:
        try:
            found.value = call()
        except SzilardError as error:
            found.refusal = str(error)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # constriction's panics are not an Exception
            found.wrong = f"{type(error).__name__}: {str(error)[:200]}"
            if isinstance(error, SystemExit) and error.code in (0, 2):
                found.wrong = None
    found.seconds = time.process_time() - started
    after = peak()
    found.peak = None if before is None or after is None else max(0, after - before)
    found.touched = list(touched)
    if found.refusal is not None and (bad := unprintable(found.refusal)):
        found.wrong = f"a message that contains {bad!r}: {found.refusal[:120]!r}"
    return found


def unprintable(sentence: str) -> str:
    """The first character that can control a terminal, or ""."""
    return next((c for c in sentence if unicodedata.category(c) in QUIET), "")


def too_much(found: Outcome, declared: int) -> bool:
    return found.peak is not None and found.peak > FACTOR * declared + SLACK


def too_slow(found: Outcome, declared: int) -> bool:
    return found.seconds > 1 + declared / (64 * MIB)


# -- memory ---------------------------------------------------------------------------------------------


def reset_peak() -> int | None:
    """Reset the peak resident size; return the present size in bytes, or None if the system does not support it."""
    try:
        with open("/proc/self/clear_refs", "wb", buffering=0) as file:
            file.write(b"5")
    except OSError:
        return None
    return peak()


def peak() -> int | None:
    """The peak resident size in bytes; None if the system does not report it."""
    try:
        with open("/proc/self/status", "rb", buffering=0) as file:
            text = file.read()
    except OSError:
        return None
    start = text.find(b"VmHWM:")
    return int(text[start + 6 : text.index(b"kB", start)]) * 1024 if start >= 0 else None


# -- files and actions ----------------------------------------------------------------------------------

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


#: Events of Python's audit hooks that no reader of a file needs.
ACTIONS = (
    "socket.connect", "socket.getaddrinfo", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn",
    "urllib.",
    "shutil.rmtree", "os.remove", "os.rename", "os.mkdir",
)  # fmt: skip


class Watch:
    """An audit hook: files opened outside of the libraries and the input, code run, processes, sockets."""

    def __init__(self) -> None:
        self._on: int | None = None  # the thread that is monitored
        self._inputs: tuple[str, ...] = ()
        self._touched: list[str] = []
        self._installed = False
        prefixes = {sys.prefix, sys.base_prefix, os.path.dirname(os.__file__), "/proc", "/sys", "/dev/null",
        "/dev/urandom",
                    "/etc/localtime", "/usr/share", "/usr/lib", "/etc/mime.types"}  # fmt: skip
        import szilard

        prefixes.add(str(Path(szilard.__file__).parent))
        for module in ("torch", "numpy", "sklearn", "matplotlib"):
            if module in sys.modules and sys.modules[module].__file__:
                prefixes.add(str(Path(str(sys.modules[module].__file__)).parent))
        self._known = tuple({os.path.realpath(prefix) for prefix in prefixes} | prefixes)

    @contextmanager
    def over(self, inputs: tuple[Path, ...]) -> Iterator[list[str]]:
        """Monitor this thread inside the block."""
        if not self._installed:
            sys.addaudithook(self._hook)
            self._installed = True
        self._inputs = tuple(str(path) for path in inputs)
        self._touched = []
        self._on = threading.get_ident()
        try:
            yield self._touched
        finally:
            self._on = None

    def _hook(self, event: str, arguments: tuple) -> None:
        if self._on is None or self._on != threading.get_ident():
            return
        if event == "open":
            self._opened(arguments)
        elif event == "exec":
            code = getattr(arguments[0], "co_filename", "")
            if "payload" in code:
                self._touched.append(f"ran {code}")
        elif event.startswith(ACTIONS) and not self._allowed(str(arguments[0]) if arguments else ""):
            self._touched.append(f"{event} {str(arguments)[:150]}")

    def _opened(self, arguments: tuple) -> None:
        name = arguments[0]
        if isinstance(name, int):
            return
        path = os.path.abspath(os.fsdecode(name) if isinstance(name, str | bytes) else str(name))
        flags = arguments[2] if len(arguments) > 2 and isinstance(arguments[2], int) else 0
        if self._allowed(path) or (not flags & _WRITES and path.startswith(self._known)):
            return
        self._touched.append(f"opened {path[:150]}")

    def _allowed(self, path: str) -> bool:
        # A written file has a temporary file next to it, and its folder is synced.
        return any(
            path in (allowed, os.path.dirname(allowed))
            or path.startswith((allowed + "/", allowed + ".", f"{os.path.dirname(allowed)}/."))
            for allowed in self._inputs
        )


WATCH = Watch()
