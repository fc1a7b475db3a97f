"""A run that ends as if its process were killed, within this one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from szilard import methods


class Killed(BaseException):
    """As sudden as SIGKILL, for the files."""


@contextmanager
def killed_after(step: int) -> Iterator[None]:
    """What trains with SSVI inside is killed when it has done that many steps, and must have come as far."""
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
