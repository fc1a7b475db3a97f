"""Plots of a stream over its rows: losses, errors, the belief's width, and how fast is forgotten."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from szilard.report.draw import SOFT, THIRD, Plot, line, log_scale, svg

_WIDE = 1168.0  # CSS pixels: the width of the page
_SMOOTH = 25  # windows that the rows are divided into
_MARKS = 60  # most changes that are marked
_SHOWN = 99.5  # per cent of the values that the loss's axis covers


@dataclass(frozen=True)
class StreamTrace:
    """Sums over blocks of rows, and the state of the belief at their ends.

    Attributes:
        names: of M predictors.
        of_numbers: the target is a number.
        end: last row of each block, ``[B]``.
        scored: rows of a block that were scored, ``[B]``.
        nll: sums of negative log probabilities, ``[B, M]`` nats.
        square: sums of squared errors, or numbers of wrong classes, ``[B, M]``.
        width: of the belief over that of the prior, ``[B]``.
        rate: mean rate of forgetting, ``[B]``.
        age: rows since the last change of the most probable hypothesis, ``[B]``.
        changes: rows of changes that were found.
        block: rows of a block.
        detects: whether changes are found.
    """

    names: list[str]
    of_numbers: bool
    end: np.ndarray
    scored: np.ndarray
    nll: np.ndarray
    square: np.ndarray
    width: np.ndarray
    rate: np.ndarray
    age: np.ndarray
    changes: list[int]
    block: int
    detects: bool

    @property
    def blocks(self) -> int:
        """Blocks in the window of a running mean."""
        return max(1, round(len(self.end) / _SMOOTH))


def plots(trace: StreamTrace) -> tuple[list[Plot], list[Plot]]:
    """Plots as wide as the page, and small ones; those without data are left out."""
    if len(trace.end) < 2 or not trace.scored.sum():
        return [], []
    window = f"running mean over {trace.blocks * trace.block:,} rows"
    marks = "; vertical lines: changes that were found" if trace.detects and trace.changes else ""
    wide = [_over_time(trace, "nll", "Loss", f"negative log probability in nats, {window}{marks}")]
    if trace.of_numbers:
        small = [_over_time(trace, "rmse", "Error", f"root mean square, in the target's units, {window}")]
    else:
        small = [_over_time(trace, "wrong", "Wrong answers", f"in %, {window}")]
    small.append(_state(trace, "width", trace.width, "Width of the belief",
                        "standard deviation of the weights over that before the first row", log=True))  # fmt: skip
    memory = _memory(trace)
    if memory is not None:
        small.append(_state(trace, "memory", memory, "Memory",
                            "rows that count: 1 / (1 - mean rate of forgetting), at most all", log=True))  # fmt: skip
    if trace.detects:
        small.append(_state(trace, "age", trace.age, "Rows since the last change",
                            "of the most probable hypothesis"))  # fmt: skip
    return wide, small


def _memory(trace: StreamTrace) -> np.ndarray | None:
    """Rows that count at each block's end, ``[B]``, NaN before the first scored row; None if the rate is constant."""
    learned = np.cumsum(trace.scored) > 0
    if np.ptp(trace.rate[learned]) <= 1e-9:
        return None
    count = 1 / np.maximum(1 - trace.rate, 1e-12)
    return np.where(learned, np.minimum(count, trace.end), np.nan)


def _running(trace: StreamTrace, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers ``[b]`` and running means ``[b, M]``, without windows that have no scored row."""
    total = np.cumsum(np.vstack((np.zeros((1, sums.shape[1])), sums)), 0)
    count = np.cumsum(np.append(0.0, trace.scored))
    stop = np.arange(1, len(trace.end) + 1)
    start = np.maximum(stop - trace.blocks, 0)
    rows = count[stop] - count[start]
    full = (stop >= trace.blocks) & (rows > 0)
    means = (total[stop] - total[start])[full] / rows[full, None]
    return trace.end[full], means


def _over_time(trace: StreamTrace, what: str, title: str, caption: str) -> Plot:
    x, y = _running(trace, trace.nll if what == "nll" else trace.square)
    if what == "rmse":
        y = np.sqrt(y)
    elif what == "wrong":
        y = 100 * y
    is_wide = what == "nll"

    def paint(axes: Any) -> None:
        if is_wide and trace.detects:
            for row in trace.changes[-_MARKS:]:
                axes.axvline(row, color=SOFT, linewidth=0.6, alpha=0.6)
        for number in reversed(range(len(trace.names))):  # the method on top
            line(axes, number, x, y[:, number])
        low, high = np.nanmin(y), np.nanpercentile(y, _SHOWN)
        room = 0.05 * (high - low) or 1.0
        if y.max() > high + 4 * room:
            axes.set_ylim(low - room, high + room)
        _rows_axis(axes, trace)

    label = f"{title} by row of {', '.join(trace.names)}"
    width, height = (_WIDE, 300.0) if is_wide else (THIRD, 236.0)
    picture = svg(f"stream-{what}", label, paint, left=48, width=width, height=height)
    return Plot(title, picture, caption)


def _state(
    trace: StreamTrace, name: str, y: np.ndarray, title: str, caption: str, *, log: bool = False
) -> Plot:
    def paint(axes: Any) -> None:
        from matplotlib.ticker import FuncFormatter

        line(axes, 0, trace.end, y)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        if log and np.nanmin(y) > 0 and np.nanmax(y) / np.nanmin(y) > 20:
            log_scale(axes)
        _rows_axis(axes, trace)

    return Plot(title, svg(f"stream-{name}", f"{title} by row", paint, left=48), caption)


def _rows_axis(axes: Any, trace: StreamTrace) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.set_xlim(0, 1.03 * float(trace.end[-1]))  # room for the last number
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel("row")
