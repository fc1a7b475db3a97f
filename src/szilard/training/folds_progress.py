"""The progress of the short trainings by which a prior is chosen."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from szilard.training.progress import moves

_LINES = 10.0  # seconds between two lines if there is no terminal


class FoldsBar:
    """A bar on standard error, or without a terminal a line at the start and then every ten seconds.

    Args:
        label: of the method.
        total: number of trainings.
        folds, examples: number of folds, and of examples that are divided among them.
        show: whether to show anything.
        console: output; by default standard error.
    """

    def __init__(
        self, label: str, total: int, folds: int, examples: int, show: bool, console: Console | None = None
    ) -> None:
        self._total, self._show, self._done = total, show, 0
        self._label = f"{label}: choosing the prior by {folds} folds of {examples} labels"
        console = console or Console(stderr=True)
        self._bar: Progress | None = None
        self._printed = time.perf_counter()
        if show and (moves(console) or console.is_jupyter):
            short = console.width < len(self._label) + 40
            self._bar = Progress(
                TextColumn("[bold]{task.description}"),
                BarColumn(bar_width=12),
                TextColumn("{task.completed}/{task.total}"),
                TimeRemainingColumn(elapsed_when_finished=True),
                console=console,
            )
            self._task = self._bar.add_task(
                f"choosing the prior, {folds} folds" if short else self._label, total=total
            )
        elif show:
            self._line()

    def __enter__(self) -> FoldsBar:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def step(self) -> None:
        """Count a training."""
        self._done += 1
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done)
        elif self._show and time.perf_counter() - self._printed > _LINES:
            self._line()

    def _line(self) -> None:
        self._printed = time.perf_counter()
        print(f"{self._label}, {self._done}/{self._total} trainings", file=sys.stderr, flush=True)
