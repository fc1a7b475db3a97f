"""Known filters as settings of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from szilard.adapt.broadening import Broadening, Reset, Temper, TowardsPrior
from szilard.adapt.trackers import Always, Bank, Beam, NoChange, RunLength, Tracker


@dataclass(frozen=True)
class Preset:
    """How a filter forgets.

    Attributes:
        summary: what it is, in a line.
        make: makes the broadening rule and the tracker.
    """

    summary: str
    make: Callable[[], tuple[Broadening, Tracker]]


PRESETS = {
    "bank": Preset("ten rates of forgetting, mixed by recent evidence", lambda: (Temper(), Bank())),
    "vcl": Preset("never forgets: variational continual learning", lambda: (Temper(), NoChange())),
    "temper": Preset("forgets at one rate, 0.98", lambda: (Temper(0.98), Always())),
    "bf": Preset("Bayesian forgetting at one rate, 0.98", lambda: (TowardsPrior(0.98), Always())),
    "vbs": Preset("variational beam search over changes", lambda: (Temper(0.01, 0.1), Beam())),
    "bocd": Preset("Bayesian online change point detection", lambda: (Reset(), RunLength())),
}
"""Filters by name."""
