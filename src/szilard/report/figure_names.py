"""The formats of quality and cost figures: heading, unit, and which direction is better."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

UNKNOWN = "–"
_MINUS = "\u2212"
_PREFIXES = dict(zip(range(-5, 6), ("f", "p", "n", "µ", "m", "", "k", "M", "G", "T", "P"), strict=True))


def si(value: float, unit: str = "") -> str:
    """Three digits and a prefix: 1 234 567 is ``1.23 M``."""
    if not value or not math.isfinite(value):
        return f"{value:g} {unit}".rstrip()
    power = min(max(math.floor(math.log10(abs(value)) / 3), -100), 100)
    if float(f"{abs(value) / 1000.0**power:.3g}") >= 1000:
        power += 1
    power = min(max(power, -5), 5)
    scaled = value / 1000.0**power
    digits = max(0, 2 - math.floor(math.log10(abs(scaled)) + 1e-9)) if power or abs(scaled) < 100 else 0
    text = f"{scaled:.{min(digits, 2)}f}" if power or scaled % 1 else f"{scaled:.0f}"
    return f"{text} {_PREFIXES[power]}{unit}".rstrip()


def seconds(value: float) -> str:
    """A duration: ``3.2 ms``, ``41 s``, ``12 min``, ``3.4 h``."""
    if value < 1:
        return si(value, "s")
    if value < 600:
        return f"{value:.3g} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def percent(value: float, digits: int = 1) -> str:
    """A fraction as ``88.3 %``."""
    return f"{100 * value:.{digits}f} %"


def signed(value: float, digits: int, unit: str = "") -> str:
    """A difference with its sign: ``+0.012``, ``−8.6 pp``."""
    text = f"{abs(value):.{digits}f}"
    sign = "±" if not float(text) else "+" if value > 0 else _MINUS
    return f"{sign}{text} {unit}".rstrip()


def times(value: float, base: float) -> str:
    """``0.16×`` of a baseline; empty if the ratio is not meaningful."""
    if base <= 0 or value < 0 or not math.isfinite(value / base):
        return ""
    ratio = value / base
    return f"{ratio:.2g}×" if 0 < ratio < 99.5 else f"{ratio:.0f}×"


def span(show: Callable[[float], str], low: float, high: float) -> str:
    """An interval: ``93.6–97.7 %``, with the unit once; ``−1.20 to −0.80`` if a number is negative."""
    first, last = show(low), show(high)
    first = first.removesuffix(" %") if last.endswith(" %") else first
    return f"{first} to {last}" if low < 0 else f"{first}–{last}"


@dataclass(frozen=True)
class Figure:
    """One column of the table.

    Attributes:
        key: in ``result.json``.
        heading, hint: texts to show; the hint is a definition.
        show: formats the value.
        better: "more", "less", or the optimal value.
        compare: how it is compared with the baseline.
    """

    key: str
    heading: str
    hint: str
    show: Callable[[float], str]
    better: Literal["more", "less"] | float = "less"
    compare: Literal["ratio", "points", "difference", "none"] = "ratio"

    @property
    def directed(self) -> str:
        """The heading with an arrow in the better direction."""
        return self.heading + {"more": " ↑", "less": " ↓"}.get(str(self.better), "")

    def loss(self, value: float) -> float:
        """A number that is smallest for the best value."""
        if self.better == "more":
            return -value
        return value if self.better == "less" else abs(value - self.better)

    def beside(self, value: float, base: float) -> str:
        """The value relative to the baseline's."""
        if self.compare == "points":
            return signed(100 * (value - base), 2, "pp")
        if self.compare == "difference" or (self.compare == "ratio" and min(value, base) < 0):
            return signed(value - base, 3)
        return times(value, base) if self.compare == "ratio" else ""


def _fixed(digits: int) -> Callable[[float], str]:
    return lambda value: f"{value:.{digits}f}".replace("-", _MINUS)


def digits(value: float) -> str:
    """A number with three or four digits, without an exponent below ten million: ``0.00211``, ``143,850``."""
    size = abs(value)
    text = f"{value:#.3g}" if size < 1 else f"{value:#.4g}" if size < 1000 else f"{value:.5g}"
    if 1000 <= size < 1e7:
        text = f"{value:,.0f}"
    return text.replace("-", _MINUS)


def nats(value: float) -> str:
    """A divergence: ``0.0312``, ``< 0.0001``."""
    return "0" if not value else "< 0.0001" if value < 1e-4 else f"{value:.3g}"


QUALITY = (
    Figure("accuracy", "accuracy", "fraction of test inputs whose most probable class is correct",
           lambda v: percent(v, 2), "more", "points"),
    Figure("accuracy_all", "all labels right", "fraction of test inputs with all labels correct",
           lambda v: percent(v, 2), "more", "points"),
    Figure("f1", "F1", "harmonic mean of precision and recall, mean over labels", _fixed(3), "more", "difference"),
    Figure("r2", "R²", "1 - squared error / variance, mean over targets", _fixed(3), "more", "difference"),
    Figure("miou", "mIoU", "intersection over union of pixels, mean over classes", _fixed(3), "more", "difference"),
    Figure("rmse", "RMSE", "root mean squared error, in the units of the target", digits),
    Figure("nll", "NLL", "negative log likelihood of the test set, nats per input", _fixed(3)),
    Figure("brier", "Brier", "mean squared distance of the probabilities from the true labels", _fixed(3)),
    Figure("ece", "ECE", "expected calibration error of the top label, 15 equal bins", _fixed(3)),
    Figure("coverage95", "coverage of 95 %", "fraction of targets inside the 95 % interval; 95 % is correct",
           percent, 0.95, "none"),
    Figure("aurc", "AURC", "area under the risk–coverage curve", digits),
    Figure("auroc_best", "OOD AUROC", "detection of out-of-distribution inputs, by the best score of each method",
           _fixed(3), "more", "difference"),
)  # fmt: skip
COST = (
    Figure("nonzeros", "stored entries", "entries of weights and biases that exist, of any value", si),
    Figure("bits", "memory", "size of the network in memory: values and indices", lambda v: si(v / 8, "B")),
    Figure("macs", "MACs", "multiply-adds of one inference of one example, mean network", si),
    Figure("bytes_moved", "bytes moved", "by one inference of one example", lambda v: si(v, "B")),
    Figure("train_flops", "training FLOPs", "of the whole training; a multiply-add is two", si),
    Figure("joules_inference", "joules / inference", "45 nm estimate, one example, mean network", lambda v: si(v, "J")),
    Figure("joules_training", "joules / training", "estimate for a 45 nm chip, lower bound", lambda v: si(v, "J")),
    Figure("seconds", "training time", "wall-clock of all optimiser steps", seconds),
    Figure("seconds_per_step", "time / step", "wall-clock of one optimiser step", seconds),
    Figure("seconds_per_inference", "time / inference", "median wall-clock of one call of the network", seconds),
    Figure("peak_bytes", "peak memory", "peak resident memory of the process", lambda v: si(v, "B")),
)  # fmt: skip
