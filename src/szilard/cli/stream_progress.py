"""The progress bar of a stream, on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_LINES = 10.0  # seconds between two lines if there is no terminal
_EVERY = 0.1  # seconds between two updates of a bar


@contextmanager
def shown(label: str, *, quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A function that takes the rows that were read and all rows; None with ``quiet``.

    A terminal shows a bar with the time left. Otherwise there is a line every ten seconds.
    """
    if quiet:
        yield None
        return
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_terminal and not console.is_dumb_terminal:
        with _bar(label, console) as step:
            yield step
        return
    last = time.monotonic()

    def line(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > _LINES:
            last = time.monotonic()
            print(f"{label}: row {done:,} of {total:,}", file=sys.stderr, flush=True)

    yield line


@contextmanager
def _bar(label: str, console: object) -> Iterator[Callable[[int, int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    assert isinstance(console, Console)
    columns = (
        TextColumn("[bold]{task.description}", markup=True),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[text]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(label, total=None, text="")
        last = 0.0

        def step(done: int, total: int) -> None:
            nonlocal last
            if done == total or time.monotonic() - last > _EVERY:
                last = time.monotonic()
                progress.update(task, total=total, completed=done, text=f"row {done:,} of {total:,}")

        yield step
