"""The bar that a person watches."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

_EVERY = 0.1  # seconds between two looks at the loss: on a GPU each look waits for the device


class Bar:
    """Free energy, its two terms, validation quality and time left, on standard error.

    Args:
        label: what is trained.
        epochs, steps: of the whole run, and of one epoch.
        done: optimiser steps done before.
        show: whether to show anything.
    """

    def __init__(self, label: str, epochs: int, steps: int, done: int, show: bool) -> None:
        self._epochs, self._steps, self._done = epochs, steps, done
        self._valid = ""
        self._looked = 0.0
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[epoch]}"),
            TextColumn("{task.fields[energies]}"),
            TextColumn("{task.fields[valid]}"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=Console(stderr=True),
            disable=not show,
        )
        self._task = self._bar.add_task(
            label, total=epochs * steps, completed=done, epoch="", energies="", valid=""
        )

    def __enter__(self) -> Bar:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def due(self) -> bool:
        """Whether it is time to look at the loss again."""
        return not self._bar.disable and time.perf_counter() - self._looked > _EVERY

    def step(self, done: int, energy: float | None = None, cost: float | None = None) -> None:
        """After optimiser step ``done``; the terms of F in nats per example where they were looked at."""
        if energy is None or cost is None:
            self._bar.update(self._task, completed=done)
            return
        self._looked = time.perf_counter()
        epoch = min(self._epochs, (done - 1) // self._steps + 1)
        self._bar.update(
            self._task,
            completed=done,
            epoch=f"epoch {epoch}/{self._epochs}",
            energies=f"F {energy + cost:.3f} = {energy:.3f} + {cost:.3f} nats",
            valid=self._valid,
        )

    def valid(self, quality: dict[str, float]) -> None:
        """After an epoch."""
        key = "accuracy" if "accuracy" in quality else "rmse"
        self._valid = f"valid {key} {quality[key]:.3f}"
