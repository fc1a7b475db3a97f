"""The page, part by part: what is drawn where, and what happens where something cannot be drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from szilard.report import calibration_section, curves, uncertain, weights
from szilard.report.draw import QUARTER, THIRD, Picture
from szilard.report.uncertain import Tile
from szilard.report.weights import Posterior
from szilard.run.read import MethodRun, Run

T = TypeVar("T")


@dataclass(frozen=True)
class Section:
    """Pictures under one heading."""

    title: str
    say: str
    pictures: list[Picture]

    @property
    def in_fours(self) -> bool:
        return in_fours(len(self.pictures))


@dataclass(frozen=True)
class Uncertain:
    """The most uncertain inputs of one method."""

    method: MethodRun
    tiles: list[Tile]


def in_fours(number: int) -> bool:
    """Whether that many pictures stand better four in a row than three."""
    return number > 0 and number % 4 == 0


def predictions(run: Run) -> list[Section]:
    """How true the predictions are."""
    in_units = run.target_type.in_units
    width = QUARTER if in_fours(len(run.finished) + 1) else THIRD
    each = [
        _try(run, f"{m.name}: the diagram of its predictions", lambda m=m, n=n: _each(run, m, width, n))  # type: ignore[misc]
        for m in run.finished
        for n in range(calibration_section.n_targets(m))
    ]
    risk = _try(run, "the risk–coverage curve", lambda: calibration_section.risk_coverage(run, width))
    ood = (
        _try(run, "the histograms of out-of-distribution inputs", lambda: calibration_section.elsewhere(run))
        or []
    )
    reliability = (
        "Accuracy among the inputs of which the network is equally sure: on the diagonal, its probabilities are true. "
        "Bars are 95 % intervals of the accuracy itself: where few inputs fall, little is known."
    )
    intervals = "Each dot is a test input with its 95 % interval; those that miss the truth have no colour."
    outside = run.fact("ood") or "out-of-distribution inputs"
    return [
        Section(
            "Are the error bars true?" if in_units else "Are the probabilities true?",
            intervals if in_units else reliability,
            [p for p in [*each, risk] if p],
        ),
        Section(
            "Does it know what it has never seen?",
            f"Filled: test inputs. Outline: {outside}, which belong to no class it knows and should not look sure. "
            "Share of inputs, %.",
            ood,
        ),
    ]


def training(run: Run) -> Section:
    """How it got there, and what exists at the end."""
    found = _try(run, "the training curves", lambda: curves.pictures(run)) or []
    existing = _try(run, "the densities", lambda: weights.density(run))
    return Section(
        "Training",
        "Training minimises the free energy F = E[loss] + T/N · divergence; validation is looked at after each epoch.",
        [*found, *([existing] if existing else [])],
    )


def posteriors(run: Run) -> list[Posterior]:
    """One for each method with Gaussian weights."""
    found = [
        _try(run, f"{m.name}: the histograms of its weights", lambda m=m: weights.posterior(m))  # type: ignore[misc]
        for m in run.finished
    ]
    return [p for p in found if p]


def pictured(run: Run) -> list[Uncertain]:
    """One for each method whose inputs are pictures."""
    found = [
        (m, _try(run, f"{m.name}: its most uncertain inputs", lambda m=m: uncertain.tiles(run, m)))  # type: ignore[misc]
        for m in run.finished
    ]
    return [Uncertain(m, tiles) for m, tiles in found if tiles]


def _each(run: Run, m: MethodRun, width: float, target: int) -> Picture | None:
    if run.target_type.in_units:
        return calibration_section.predicted(run, m, width, target)
    return calibration_section.reliability(m, width)


def _try(run: Run, what: str, make: Callable[[], T]) -> T | None:
    """What ``make`` gives, or None and a note: one bad array must not cost the reader the page."""
    try:
        return make()
    except Exception:  # numpy and matplotlib raise almost anything over arrays of the wrong shape or kind
        run.notes.append(f"{what[0].upper()}{what[1:]} cannot be drawn: the numbers behind it are damaged.")
        return None
