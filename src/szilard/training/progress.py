"""The progress bar of training."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

_EVERY = 0.1  # seconds between two reads of the loss: on a GPU each read waits for the device
_LINES = 10.0  # seconds between two lines if there is no terminal
_LONGEST, _SHORTEST = 24, 6  # columns of the bar itself
_TIME = 7  # columns of the time left


class Bar:
    """Shows free energy, its two terms, validation quality and time left on standard error.

    In a terminal it is a bar: the bar itself, the epoch, F and the time left are shown at any width, the others if they
    fit. Without a terminal, or if it takes no control characters, a line is printed every ten seconds and at the end.

    Args:
        label: name of the method.
        epochs, steps: epochs of the whole run; steps of one epoch.
        done: optimiser steps done before, in a resumed run.
        show: whether to show anything.
        console: output; by default standard error.
    """

    def __init__(
        self, label: str, epochs: int, steps: int, done: int, show: bool, console: Console | None = None
    ) -> None:
        self._label, self._epochs, self._steps, self._done = label, epochs, steps, done
        self._show = show
        self._console = console or Console(stderr=True)
        self._energies: tuple[float, float] | None = None
        self._valid = ""
        self._looked = 0.0
        self._began = self._printed = time.perf_counter()
        self._begun = done
        self._bar: Progress | None = None
        if show and (moves(self._console) or self._console.is_jupyter):
            self._column = BarColumn(bar_width=_LONGEST)
            self._bar = Progress(
                TextColumn("[bold]{task.description}"),
                self._column,
                TextColumn("{task.fields[text]}"),
                TimeRemainingColumn(elapsed_when_finished=True),
                console=self._console,
            )
            self._task = self._bar.add_task(label, total=epochs * steps, completed=done, text="")

    def __enter__(self) -> Bar:
        if self._bar is not None:
            self._update()
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif self._show and self._done > self._begun:
            self._line(last=True)

    def due(self) -> bool:
        """Whether it is time to read the loss."""
        return self._show and time.perf_counter() - self._looked > _EVERY

    def step(self, done: int, energy: float | None = None, cost: float | None = None) -> None:
        """Update after optimiser step ``done``; the terms of F are in nats per example, or None if not read."""
        self._done = done
        if energy is not None and cost is not None:
            self._looked = time.perf_counter()
            self._energies = energy, cost
        if self._bar is not None:
            self._update()
        elif self._show and time.perf_counter() - self._printed > _LINES:
            self._line()

    def valid(self, quality: dict[str, float]) -> None:
        """Set the validation quality after an epoch."""
        key = "accuracy" if "accuracy" in quality else "rmse"
        if key in quality:
            self._valid = f"valid {key} {_number(quality[key])}"

    def _update(self) -> None:
        if self._bar is None:
            return
        label, text, length = fitted(
            self._label, self._epoch, self._epochs, self._energies, self._valid, self._console.width
        )
        self._column.bar_width = length
        self._bar.update(self._task, completed=self._done, description=label, text=text)

    @property
    def _epoch(self) -> int:
        return min(self._epochs, max(0, self._done - 1) // self._steps + 1)

    def _line(self, last: bool = False) -> None:
        self._printed = time.perf_counter()
        parts = [f"epoch {self._epoch}/{self._epochs}"]
        if self._energies is not None:
            parts.append(_long(*self._energies))
        parts += [self._valid] if self._valid else []
        spent = self._printed - self._began
        if last:
            parts.append(f"{spent:.0f} s")
        else:
            left = spent * (self._epochs * self._steps - self._done) / max(1, self._done - self._begun)
            parts.append(f"about {left:.0f} s left")
        print(f"{self._label}: {', '.join(parts)}", file=sys.stderr, flush=True)


def fitted(
    label: str, epoch: int, epochs: int, energies: tuple[float, float] | None, valid: str, width: int
) -> tuple[str, str, int]:
    """Label, text after the bar, and length of the bar, so that all of them fit into ``width`` columns.

    The epoch and F are always shown. If space is short, first the terms of F are dropped, then the validation quality,
    then the unit, then the end of the label, then the word "epoch".
    """
    epoch_long, epoch_short = f"epoch {epoch}/{epochs}", f"{epoch}/{epochs}"
    total = [] if energies is None else [f"F {sum(energies):.3f} nats"]
    short = [] if energies is None else [f"F {sum(energies):.3f}"]
    terms = [] if energies is None else [_long(*energies)]
    name = label.partition(",")[0]
    score = [valid] if valid else []
    for shown, parts in (
        (label, [epoch_long, *terms, *score]),
        (label, [epoch_long, *total, *score]),
        (label, [epoch_long, *total]),
        (label, [epoch_long, *short]),
        (name, [epoch_long, *short]),
        (name, [epoch_short, *short]),
    ):
        text = "  ".join(parts)
        free = width - len(shown) - len(text) - _TIME - 4  # a space between two parts, and one at the end
        if free >= (_SHORTEST if parts[1:] == short else 2 * _SHORTEST):
            return shown, text, min(_LONGEST, free)
    text = "  ".join([epoch_short, *short])
    return "", text, max(1, width - len(text) - _TIME - 4)


def _number(value: float) -> str:
    """Three decimals, or three digits of an error in units of any size."""
    return f"{value:.3f}" if value == 0 or 0.01 <= abs(value) < 1e6 else f"{value:.3g}"


def _long(energy: float, cost: float) -> str:
    return f"F {energy + cost:.3f} = {energy:.3f} + {cost:.3f} nats"


def moves(console: Console) -> bool:
    """Whether a terminal takes control characters."""
    return console.is_terminal and not console.is_dumb_terminal
