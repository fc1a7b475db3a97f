"""The sections of the page; plots that cannot be drawn become notes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from szilard.report import (
    calibration_section,
    curves,
    one_pass_section,
    support_section,
    uncertain_inputs,
    weights,
)
from szilard.report.draw import QUARTER, THIRD, Plot
from szilard.report.uncertain_inputs import Tile
from szilard.report.weights import Posterior
from szilard.run.read import MethodRun, Run

T = TypeVar("T")


@dataclass(frozen=True)
class Section:
    """Plots under one heading."""

    title: str
    say: str
    plots: list[Plot]

    @property
    def in_fours(self) -> bool:
        return in_fours(len(self.plots))


@dataclass(frozen=True)
class Uncertain:
    """The most uncertain inputs of one method."""

    method: MethodRun
    tiles: list[Tile]


def in_fours(number: int) -> bool:
    """Whether to show this many plots four in a row instead of three."""
    return number > 0 and number % 4 == 0


def predictions(run: Run) -> list[Section]:
    """Calibration and out-of-distribution detection."""
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
        "Above: accuracy in each range of confidence, with 95 % intervals, which are wide for few inputs. "
        "On the diagonal, confidence equals accuracy. Below: share of inputs in each range."
    )
    intervals = (
        "Horizontal axis: true value; vertical axis: predicted value with its 95 % interval, one dot for each test "
        "input. Uncoloured intervals do not contain the true value."
    )
    outside = run.fact("ood") or "out-of-distribution inputs"
    return [
        Section(
            "Calibration of the intervals" if in_units else "Calibration of the probabilities",
            intervals if in_units else reliability,
            [p for p in [*each, risk] if p],
        ),
        Section(
            "Out-of-distribution detection",
            f"Filled: test inputs. Outline: {outside}, which belong to none of the classes and should have low "
            "probabilities. Vertical axis: % of inputs.",
            ood,
        ),
    ]


def one_pass(run: Run) -> Section:
    """One pass of means and variances beside draws, if they were compared."""
    found = one_pass_section.compared(run)
    timed = any(one_pass_section.timed(m) for m in found)
    width = QUARTER if in_fours(len(found) + timed) else THIRD
    against = _try(run, "quality against time", lambda: one_pass_section.against_time(run, width))
    each = [
        _try(run, f"{m.name}: its deviations in one pass", lambda m=m: one_pass_section.deviations(m, width))  # type: ignore[misc]
        for m in found
    ]
    plots = [plot for plot in (against, *each) if plot]
    return Section("One pass instead of draws", one_pass_section.say(run), plots)


def training(run: Run) -> Section:
    """Training curves, and the density of each weight at the end."""
    found = _try(run, "the training curves", lambda: curves.plots(run)) or []
    existing = _try(run, "the densities", lambda: weights.density(run))
    return Section(
        "Training",
        "Training minimises the free energy F = E[loss] + T/N · divergence. The validation set is evaluated after each "
        "epoch.",
        [*found, *([existing] if existing else [])],
    )


def supports(run: Run) -> Section:
    """Sparse training: what a density and a budget of FLOPs gave, and how the existing entries changed."""
    found = support_section.logged(run)
    shared = [
        *((lambda what=what: support_section.against(run, what)) for what in ("density", "train_flops")),
        *((lambda what=what: support_section.over_time(run, what)) for what in ("replaced", "ever_alive")),
    ]
    plots = [_try(run, "a plot of the existing weights", make) for make in shared]
    plots += [
        _try(run, f"{m.name}: its density by epoch", lambda m=m: support_section.densities(m))  # type: ignore[misc]
        for m in found
    ]
    return Section(
        "Sparse training",
        "Sparse methods store and compute the existing entries only; moves replace some of them. A dot is a method of "
        "this run, with one seed.",
        [plot for plot in plots if plot],
    )


def posteriors(run: Run) -> list[Posterior]:
    """The posterior of each method with Gaussian weights."""
    found = [
        _try(run, f"{m.name}: the histograms of its weights", lambda m=m: weights.posterior(m))  # type: ignore[misc]
        for m in run.finished
    ]
    return [p for p in found if p]


def uncertain_by_method(run: Run) -> list[Uncertain]:
    """The most uncertain inputs of each method, if inputs are images."""
    found = [
        (m, _try(run, f"{m.name}: its most uncertain inputs", lambda m=m: uncertain_inputs.tiles(run, m)))  # type: ignore[misc]
        for m in run.finished
    ]
    return [Uncertain(m, tiles) for m, tiles in found if tiles]


def _each(run: Run, m: MethodRun, width: float, target: int) -> Plot | None:
    if run.target_type.in_units:
        return calibration_section.predicted(run, m, width, target)
    return calibration_section.reliability(m, width)


def _try(run: Run, what: str, make: Callable[[], T]) -> T | None:
    """The result of ``make``; if it fails, None and a note, so that a damaged array does not prevent the page."""
    try:
        return make()
    except Exception:  # numpy and matplotlib raise almost anything over arrays of the wrong shape or kind
        run.notes.append(f"{what[0].upper()}{what[1:]} cannot be drawn: its data are damaged.")
        return None
