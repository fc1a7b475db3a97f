"""Simulates, within this process, a run whose process is killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from szilard import methods


class Killed(BaseException):
    """Raised in place of SIGKILL; no code of the library catches it."""


@contextmanager
def killed_after(step: int) -> Iterator[None]:
    """Kill SSVI training in this context after ``step`` steps; fails if it ends earlier."""
    after_step = methods.SSVI.after_step

    def die(self, network, optimizer=None):
        after_step(self, network, optimizer)
        if self.step == step:
            raise Killed

    methods.SSVI.after_step = die
    try:
        yield
    except Killed:
        return
    finally:
        methods.SSVI.after_step = after_step
    pytest.fail(f"the run ended before {step} steps")
