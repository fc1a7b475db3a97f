"""What galen.py searches and trains: how much of it, and which cells there are."""

from __future__ import annotations

import inspect
from dataclasses import asdict, dataclass
from typing import Any

from szilard.compression.policies.galen_search import galen

DEFAULT: str = inspect.signature(galen).parameters["search"].default  #: searcher that a user gets
SEARCHERS = ("evolution", "agent", "greedy", "random")
INT8, PRUNED, PRUNED_INT8 = (
    "uniform int8",
    "uniform pruning",
    "uniform pruning, int8",
)  #: policies without a search
LABELS = {"evolution": "evolution", "agent": "agent (DDPG)", "greedy": "greedy", "random": "random"}
MATCHED = "int8"  #: in place of a target: the latency of uniform int8
SHORT, LONG, UNLABELLED = "short", "long", "unlabelled"  #: levels of fine-tuning
LEVELS = (SHORT, LONG, UNLABELLED)


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    Attributes:
        seeds: of calibration images, searches and training.
        evaluations: policies that each search tries.
        trial_steps: of training before the KL of a policy is measured.
        calibration: images without labels.
        short: training images of the short fine-tuning, each seen once.
        long: training images of the long one.
        epochs: passes over them.
        unlabelled: passes over the calibration images, for fine-tuning without labels.
        judged: test images.
        shares: number of steps of the uniform policies.
        seconds: for which finished networks take turns at least.
        toy: policies that a search of the toys tries.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    evaluations: int = 48
    trial_steps: int = 40
    calibration: int = 512
    short: int = 12_800
    long: int = 50_000
    epochs: int = 2
    unlabelled: int = 60
    judged: int = 10_000
    shares: int = 16
    seconds: float = 60.0
    toy: int = 20

    def as_json(self) -> dict[str, Any]:
        """As it is kept in a file."""
        return asdict(self) | {"seeds": list(self.seeds)}


FULL = Settings()
QUICK = Settings(
    seeds=(0,), evaluations=16, trial_steps=10, calibration=128, short=2560, long=10_240, epochs=1, unlabelled=20,
    judged=2000, shares=8, seconds=15.0,
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """A policy that is found for a target.

    Attributes:
        searcher: one of :data:`SEARCHERS`, or a uniform policy.
        target: share of the original's latency, as text, :data:`MATCHED`, or empty: none.
        seed: of all random numbers.
    """

    searcher: str
    target: str
    seed: int

    @property
    def name(self) -> str:
        """Of its file."""
        parts = (self.searcher.replace(",", "").replace(" ", "-"), self.target, f"seed{self.seed}")
        return "_".join(part for part in parts if part)


@dataclass(frozen=True)
class Finish:
    """A policy's network that is fine-tuned in one way."""

    cell: Cell
    level: str

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.cell.name}_{self.level}"


def cells(settings: Settings, quick: bool = False) -> list[Cell]:
    """All policies, those that gates need first."""
    found = []
    for seed in settings.seeds:
        found += [Cell(DEFAULT, target, seed) for target in ("0.4", "0.6", MATCHED)]
        found += [Cell(name, "0.4", seed) for name in SEARCHERS if name != DEFAULT]
        found += [Cell(INT8, "", seed), Cell(PRUNED, "0.4", seed)]
        found += [] if quick else [Cell(PRUNED_INT8, "0.4", seed)]
    return found


def finishes(settings: Settings, quick: bool = False) -> list[Finish]:
    """All networks, those that take longest first, so that several processes end together."""
    everything = cells(settings, quick)
    default = [cell for cell in everything if cell.searcher == DEFAULT]
    return [
        *(Finish(cell, LONG) for cell in default if cell.target != MATCHED),
        *(Finish(cell, SHORT) for cell in everything if cell.target != "0.6"),
        *(Finish(cell, UNLABELLED) for cell in default if cell.target == "0.6"),
    ]
