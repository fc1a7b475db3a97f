"""Measured costs: seconds and memory of this process."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import ClassVar

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Stopwatch:
    """Wall-clock and CPU seconds, and the peak resident memory, of a block::

        with Stopwatch() as watch:
            train()
        watch.seconds, watch.cpu_seconds, watch.peak_bytes

    The peak counts from the start of the block if Linux lets the process reset it, else from the start of the
    process; it includes loaded libraries, but not an accelerator's memory. Stopwatches can be nested.
    """

    _running: ClassVar[list[Stopwatch]] = []

    def __init__(self) -> None:
        self.seconds = 0.0
        self.cpu_seconds = 0.0
        self.peak_bytes = 0

    def __enter__(self) -> Stopwatch:
        for outer in Stopwatch._running:  # save their peaks so far, before the peak is reset
            outer.peak_bytes = max(outer.peak_bytes, peak_bytes())
        with contextlib.suppress(OSError):
            _CLEAR.write_text("5")
        self.peak_bytes = 0
        Stopwatch._running.append(self)
        self._start = time.perf_counter(), time.process_time()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = time.perf_counter() - self._start[0]
        self.cpu_seconds = time.process_time() - self._start[1]
        Stopwatch._running.remove(self)
        self.peak_bytes = max(self.peak_bytes, peak_bytes())


def peak_bytes() -> int:
    """Largest resident memory of this process so far."""
    with contextlib.suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
