"""The bar that shows a search for a policy: steps done, the best F, and the time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from szilard.compression.progress import AFTER, EVERY

_UPDATE = 0.1  # seconds between two updates of a bar


class SearchBar:
    """A bar in a terminal; elsewhere a line on standard error every ten seconds.

    Args:
        console: shows the bar; None: nothing is shown.
        tell: receives results and notices, a sentence each; None: they are left out, since the result has them.
        after: seconds before anything is shown.
        clock: returns seconds.
    """

    def __init__(
        self,
        console: Console | None = None,
        tell: Callable[[str], object] | None = None,
        *,
        after: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console, self._tell, self._after, self._clock = console, tell, after, clock
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._stage = ""
        self._started = self._printed = clock()
        self._shown = float("-inf")
        self._first: tuple[float, int] | None = None  # time and number of the first step of this stage

    @classmethod
    def on_standard_error(cls) -> SearchBar:
        """For Python: nothing is shown in the first seconds, and so nothing for small networks."""
        return cls(Console(stderr=True), after=AFTER)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def stage(self, text: str) -> None:
        """A part of the work begins."""
        self._stage, self._first, self._shown = text, None, float("-inf")
        self._show(0, None, "")

    def step(self, done: int, total: int, text: str = "") -> None:
        """``done`` of ``total`` steps are done."""
        now = self._clock()
        if self._first is None:
            self._first = (now, done)
        if done == total or now - self._shown >= _UPDATE:
            self._show(done, total, text)

    def tell(self, line: str) -> None:
        """Report a result or a notice."""
        if self._tell is not None:
            self._tell(line)

    def left(self, done: int, total: int) -> float | None:
        """Seconds until all steps of this stage are done, at the pace since its first one; None: not known yet."""
        if self._first is None or done <= self._first[1]:
            return None
        started, number = self._first
        return (self._clock() - started) / (done - number) * (total - done)

    def _show(self, done: int, total: int | None, text: str) -> None:
        now = self._clock()
        if self._console is None or now - self._started < self._after:
            return
        self._shown = now
        parts = [] if total is None else [f"{done:,} of {total:,}"]
        parts += [text] if text else []
        left = None if total is None or done == total else self.left(done, total)
        parts += [] if left is None else [f"{duration(left)} left"]
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._draw(done, total, ", ".join(parts))
        elif now - self._printed >= EVERY:
            self._printed = now
            print(f"{self._stage}: {', '.join(parts)}".removesuffix(": "), file=sys.stderr, flush=True)

    def _draw(self, done: int, total: int | None, text: str) -> None:
        if self._bar is None:
            columns = (
                TextColumn("[bold]{task.description}", markup=True),
                BarColumn(bar_width=16),
                TextColumn("{task.fields[text]}", markup=False),
            )
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._task = self._bar.add_task("", total=None, text="")
            self._bar.start()
        assert self._task is not None
        self._bar.update(self._task, description=escape(self._stage), total=total, completed=done, text=text)


def duration(seconds: float) -> str:
    """Rounded, with a unit: "45 s", "3 min", "1.5 h"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
