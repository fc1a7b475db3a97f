"""The progress of a field that is coded or decoded, on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from szilard.cli.fields.sizes import ratio, size
from szilard.errors import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars

_LINES = 10.0  # seconds between two lines if there is no terminal
_LETTERS, _BEFORE = 24, 50  # of what happens now, beside figures and before there are any
_BAR = 14


class Told:
    """Counts what a job tells, see :class:`szilard.fields.Progress`; the base of everything that shows it.

    Attributes:
        raw: bytes of the values that are done.
        stored: bytes that they take in the store.
        total: bytes of all values.
        now: what happens, in a few words.
    """

    def __init__(self) -> None:
        self.raw = self.stored = self.total = 0
        self.now = ""

    def status(self, text: str) -> None:
        """What happens now."""
        self.now = text
        self.show()

    def start(self, total_chunks: int, raw_bytes: int) -> None:
        """All chunks are so many bytes before coding."""
        self.total = raw_bytes
        self.show()

    def advance(self, variable: str, raw_bytes: int, written_bytes: int) -> None:
        """A chunk is done."""
        self.raw += raw_bytes
        self.stored += written_bytes
        self.show()

    def show(self) -> None:
        """Show it; here, nowhere."""

    @property
    def label(self) -> str:
        """What happens, as long as there is room for."""
        return printable(self.now, _LETTERS if self.raw else _BEFORE)

    @property
    def figures(self) -> str:
        """Bytes before and after coding and their ratio: ``1.2 GB > 45 MB  27.1x``."""
        if not self.raw:
            return ""
        if not self.stored:
            return f"{size(self.raw)} of {size(self.total)}"
        return f"{size(self.raw)} → {size(self.stored)}, {ratio(self.raw, self.stored)}×"


class _Bar(Told):
    """A bar with the time left, in a terminal."""

    def __init__(self, bars: Bars) -> None:
        super().__init__()
        self._bars, self._task = bars, bars.add_task("", total=None, figures="")

    def show(self) -> None:
        self._bars.update(
            self._task,
            description=self.label,
            total=self.total or None,
            completed=self.raw,
            figures=self.figures,
        )


class _Lines(Told):
    """A line every ten seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._last = time.monotonic()

    def show(self) -> None:
        if time.monotonic() - self._last > _LINES:
            self._last = time.monotonic()
            share = f", {100 * self.raw / self.total:.0f} %" if self.total else ""
            figures = f": {self.figures}{share}" if self.raw else ""
            print(f"{self.label}{figures}", file=sys.stderr, flush=True)


@contextmanager
def shown(*, quiet: bool) -> Iterator[Told]:
    """An object that a job tells how far it is, and that shows it: bytes read and written, ratio, time left.

    Args:
        quiet: show nothing.
    """
    if quiet:
        yield Told()
        return
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal or console.is_dumb_terminal:
        yield _Lines()
        return
    with _bars(console) as bars:
        yield _Bar(bars)


def _bars(console: Console) -> Bars:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}", markup=False, style="bold"),
        BarColumn(bar_width=_BAR),
        TextColumn("{task.fields[figures]}", markup=False),
        TimeRemainingColumn(elapsed_when_finished=True, compact=True),
        console=console,
    )
