"""Show the progress of a compression: the current step, and the time left."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.status import Status

AFTER = 3.0  # seconds before anything is shown
EVERY = 10.0  # seconds between two lines without a terminal
ROUNDING = 0.6  # assumed share of rounding in the time of an attempt, until the first one was timed


class Progress:
    """One line that is updated in a terminal or a notebook; elsewhere a line on standard error every few seconds.

    Nothing is shown in the first seconds, so nothing is printed for small networks.

    Args:
        tell: receives the results, line by line: the task, and bytes and score of every λ.
        console: shows the line; None: no line is shown.
        after: seconds before anything is shown.
        clock: returns seconds.
    """

    def __init__(
        self,
        tell: Callable[[str], object] | None = None,
        console: Console | None = None,
        *,
        after: float = AFTER,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tell, self._console, self._after, self._clock = tell, console, after, clock
        self._status: Status | None = None
        self._entered = 0
        self._started = self._printed = clock()
        self._found = ""
        self._attempt, self._about = 0, 0
        self._begun = self._started  # start of the attempt, without the time of work that serves all attempts
        self._took: list[float] = []

    @classmethod
    def of(cls, given: Callable[[str], object] | bool | Progress | None) -> Progress:
        """From the user's argument: None shows the line, False nothing, and a function receives the results."""
        if isinstance(given, Progress):
            return given
        if callable(given):
            return cls(given)
        return cls() if given is False else cls(None, Console(stderr=True))

    @classmethod
    def on(cls, console: Console) -> Progress:
        """For a command: shows the line at once, and results above it; neither on a quiet console."""
        return cls(console.print, None if console.quiet else console, after=0.0)

    def __enter__(self) -> Progress:
        self._entered += 1
        if not self._after:
            self.show("compressing")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered -= 1
        if self._status is not None and not self._entered:
            self._status.stop()
            self._status = None

    def tell(self, text: str) -> None:
        """Report a result."""
        self._found = text
        if self._tell is not None:
            self._tell(text)

    def attempt(self, number: int, about: int) -> None:
        """Start an attempt: its number, counted from 1, of about ``about`` attempts."""
        self._attempt, self._about = number, max(about, number)
        self._begun = self._clock()
        self.show(self._head())

    def end(self) -> None:
        """End the attempt."""
        self._took.append(self._clock() - self._begun)

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Work inside the block serves all attempts; its time does not count for the current one."""
        begun = self._clock()
        try:
            yield
        finally:
            self._begun += self._clock() - begun

    def step(self, what: str, number: int, total: int, *, share: float | None = None) -> None:
        """Start one of several equal steps, counted from 1.

        Args:
            what: the kind of step, such as "layer".
            share: of the work of rounding that is done before it; by default the time left is not shown.
        """
        left = None if share is None else self.left(share)
        suffix = "" if left is None else f", about {_duration(left)} left"
        self.show(f"{self._head()}{what} {number} of {total}{suffix}")

    def left(self, share: float) -> float | None:
        """Approximate seconds until the last attempt ends; None if nothing is known yet."""
        spent = self._clock() - self._begun
        if self._took:
            each = sum(self._took) / len(self._took)
        elif share > 0:
            each = spent / (ROUNDING * share)
        else:
            return None
        return max(0.0, each * (self._about - self._attempt + 1) - spent)

    def following(self, what: str, batches: Sequence[Any]) -> Sequence[Any]:
        """The same batches; each starts a step when it is read."""
        return _Followed(batches, lambda number: self.step(what, number, len(batches)))

    def show(self, text: str) -> None:
        """Update the line."""
        now = self._clock()
        if self._console is None or not self._entered or now - self._started < self._after:
            return
        if (self._console.is_terminal and not self._console.is_dumb_terminal) or self._console.is_jupyter:
            found = f"  ({self._found})" if self._found and self._tell is None else ""
            line = escape((text.removesuffix(": ") + found)[: max(20, self._console.width - 4)])
            if self._status is None:
                self._status = self._console.status(line)
                self._status.start()
            self._status.update(line)
        elif now - self._printed >= EVERY:
            self._printed = now
            head = "" if text.startswith("compressing") else "compressing: "
            print(f"{head}{text.removesuffix(': ')}", file=sys.stderr, flush=True)

    def _head(self) -> str:
        if not self._attempt:
            return ""
        many = f" of about {self._about}" if self._about > 1 else ""
        return f"λ {self._attempt}{many}: " if many else ""


class _Followed(Sequence[Any]):
    def __init__(self, batches: Sequence[Any], see: Callable[[int], None]) -> None:
        self._batches, self._see = batches, see

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: Any) -> Any:
        return self._batches[index]

    def __iter__(self) -> Iterator[Any]:
        for number, batch in enumerate(self._batches, 1):
            self._see(number)
            yield batch


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
