"""What a person sees while a network is compressed: where it is, and how long it will take."""

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

AFTER = 3.0  # seconds of silence
EVERY = 10.0  # seconds between two lines where there is no terminal
ROUNDING = 0.6  # of an attempt, about, until the first has told


class Progress:
    """One line that is updated in a terminal or a notebook; elsewhere a line on standard error now and then.

    Nothing is shown in the first seconds, so that small networks are compressed in silence.

    Args:
        tell: is given what was found, line by line: the task, and bytes and score of every λ.
        console: where the line is; None: nowhere.
        after: seconds of silence.
        clock: seconds.
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
        self._begun = self._started  # of the attempt, without what was measured for all of them
        self._took: list[float] = []

    @classmethod
    def of(cls, given: Callable[[str], object] | bool | Progress | None) -> Progress:
        """What a user asked for: None is the line, False nothing, and a function is told what was found."""
        if isinstance(given, Progress):
            return given
        if callable(given):
            return cls(given)
        return cls() if given is False else cls(None, Console(stderr=True))

    @classmethod
    def on(cls, console: Console) -> Progress:
        """For a command: the line at once, and what was found above it; neither on a quiet console."""
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
        """Something was found."""
        self._found = text
        if self._tell is not None:
            self._tell(text)

    def attempt(self, number: int, about: int) -> None:
        """An attempt begins, from 1 on, of about so many."""
        self._attempt, self._about = number, max(about, number)
        self._begun = self._clock()
        self.show(self._head())

    def end(self) -> None:
        """It is over."""
        self._took.append(self._clock() - self._begun)

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """What is done inside serves all attempts, and does not count for one of them."""
        begun = self._clock()
        try:
            yield
        finally:
            self._begun += self._clock() - begun

    def step(self, what: str, number: int, total: int, *, share: float | None = None) -> None:
        """One of several like steps begins, from 1 on.

        Args:
            what: it is, "layer".
            share: of the work of rounding that is done before it; by default nothing is said of the time left.
        """
        left = None if share is None else self.left(share)
        told = "" if left is None else f", about {_duration(left)} left"
        self.show(f"{self._head()}{what} {number} of {total}{told}")

    def left(self, share: float) -> float | None:
        """Seconds until the last attempt is over, about; None where nothing is known yet."""
        spent = self._clock() - self._begun
        if self._took:
            each = sum(self._took) / len(self._took)
        elif share > 0:
            each = spent / (ROUNDING * share)
        else:
            return None
        return max(0.0, each * (self._about - self._attempt + 1) - spent)

    def following(self, what: str, batches: Sequence[Any]) -> Sequence[Any]:
        """The same batches; each is a step when its turn comes."""
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
            print(f"compressing: {text.removesuffix(': ')}", file=sys.stderr, flush=True)

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
