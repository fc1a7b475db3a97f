"""Plots of a search for a policy: what each option costs alone, and every policy that was tried."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from szilard.report.draw import INK, SOFT, THIRD, Plot, colour, log_scale, svg

_WIDE = 760.0  # CSS pixels: width of the frontier
_LEAST = 1e-9  # nats; less cannot be told from rounding
_NAMED = 3  # curves that have a name; the others are grey


@dataclass(frozen=True)
class Curve:
    """KL of the options of one decision alone.

    Attributes:
        name: of the pool of channels, or of the layer.
        x: shares of its channels that stay, or bits of its weights; falling.
        nats: KL(original ‖ compressed), nats per example; can be infinite.
    """

    name: str
    x: Sequence[float]
    nats: Sequence[float]


@dataclass(frozen=True)
class Points:
    """Every policy that was tried, in the order of the search.

    Attributes:
        cost: predicted, as a share of the original's.
        nats: KL(original ‖ compressed), nats per example.
        measured: cost of the real network, as a share of the original's; None: not measured.
    """

    cost: Sequence[float] = field(default_factory=tuple)
    nats: Sequence[float] = field(default_factory=tuple)
    measured: Sequence[float | None] = field(default_factory=tuple)


def sensitivity(curves: Sequence[Curve], kind: str) -> Plot | None:
    """KL by share of channels, or by bits; None without curves.

    Args:
        curves: of decisions of one kind.
        kind: "channels" or "bits".
    """
    known = [curve for curve in curves if len(curve.x) > 1]
    if not known:
        return None
    ranked = sorted(known, key=_last, reverse=True)
    named = ranked[:_NAMED]

    def paint(axes: Any) -> None:
        from matplotlib.ticker import FuncFormatter, MaxNLocator

        for curve in ranked[_NAMED:]:
            axes.plot(*_drawn(curve), color=SOFT, linewidth=0.9, alpha=0.55)
        for number, curve in reversed(list(enumerate(named))):
            axes.plot(*_drawn(curve), color=colour(number), label=curve.name, marker="o", markersize=3)
        log_scale(axes)
        if kind == "channels":
            axes.set_xlim(left=0, right=1)
        axes.invert_xaxis()
        if kind == "channels":
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
            axes.set_xlabel("channels that stay")
        else:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set_xlabel("bits of the weights")
        handles, labels = axes.get_legend_handles_labels()
        axes.legend(handles[::-1], labels[::-1], loc="upper left", frameon=False, fontsize=10.5)

    title = "One pool of channels alone" if kind == "channels" else "The bits of one layer alone"
    others = f"; grey: the other {len(ranked) - len(named)}" if len(ranked) > len(named) else ""
    caption = (
        f"KL(original ‖ compressed), nats per example; coloured: the {len(named)} that cost most{others}"
    )
    if len(named) == len(ranked):
        caption = "KL(original ‖ compressed), nats per example"
    label = f"KL by {'share of channels' if kind == 'channels' else 'bits'} of {', '.join(one.name for one in known)}"
    return Plot(title, svg(f"galen-{kind}", label, paint, width=_WIDE / 1.3, height=300, left=56), caption)


def frontier(
    points: Points, target: float | None, final: tuple[float, float] | None, what: str
) -> Plot | None:
    """Cost and KL of every policy, the least KL for each cost, the target and the finished network.

    Args:
        points: that were tried.
        target: as a share of the original's cost; None: none.
        final: measured cost as a share, and KL, of the finished network.
        what: is the cost: "latency", "energy", "size of the file" or "cost".
    """
    if len(points.cost) < 2:
        return None
    cost, nats = list(points.cost), [max(value, _LEAST) for value in points.nats]
    front = _front(cost, nats)

    def paint(axes: Any) -> None:
        from matplotlib.ticker import FuncFormatter

        axes.scatter(cost, nats, s=13, color=SOFT, alpha=0.45, linewidths=0, label="predicted cost")
        axes.plot(
            *zip(*front, strict=True),
            color=colour(0),
            linewidth=1.3,
            drawstyle="steps-post",
            label="least KL",
        )
        real = [(x, y) for x, y in zip(points.measured, nats, strict=True) if x is not None]
        if real:
            xs, ys = zip(*real, strict=True)
            axes.scatter(xs, ys, s=26, color=colour(5), linewidths=0, label="measured cost")
        if target is not None:
            axes.axvline(target, color=colour(1), linewidth=1.2, dashes=(5, 3), label="target")
        if final is not None:
            axes.scatter(
                [final[0]], [max(final[1], _LEAST)], s=110, marker="*", color=INK, linewidths=0, zorder=5,
                label="finished network",
            )  # fmt: skip
        log_scale(axes)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
        axes.set_xlabel(f"{what}, of the original's")
        axes.legend(loc="best", frameon=False, fontsize=10.5)

    caption = "KL(original ‖ compressed), nats per example, of every policy that was tried"
    label = f"KL against {what} of {len(cost)} policies"
    return Plot(
        "Every policy that was tried",
        svg("galen-frontier", label, paint, width=_WIDE, height=360, left=56),
        caption,
    )


def best_so_far(points: Points, target: float | None) -> Plot | None:
    """The least KL among the policies that meet the target, by number of policies tried."""
    best, lowest = [], math.inf
    for predicted, nats, measured in zip(points.cost, points.nats, points.measured, strict=True):
        cost = predicted if measured is None else measured
        if target is None or cost <= target * (1 + 1e-9):
            lowest = min(lowest, max(nats, _LEAST))
        best.append(lowest)
    start = next((number for number, value in enumerate(best) if value < math.inf), None)
    if start is None or best[start] == best[-1]:
        return None

    def paint(axes: Any) -> None:
        from matplotlib.ticker import MaxNLocator

        axes.plot(range(start + 1, len(best) + 1), best[start:], color=colour(0), drawstyle="steps-post")
        if best[start] / best[-1] > 20:
            log_scale(axes)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
        axes.set_xlabel("policies that were tried")

    caption = (
        "KL of the best policy that meets the target, as measured or else as predicted; nats per example"
    )
    label = "Least KL by number of policies"
    return Plot("The search", svg("galen-search", label, paint, width=THIRD, height=300, left=56), caption)


def _front(cost: Sequence[float], nats: Sequence[float]) -> list[tuple[float, float]]:
    """Points that no other beats in both, by rising cost."""
    found: list[tuple[float, float]] = []
    for x, y in sorted(zip(cost, nats, strict=True)):
        if not found or y < found[-1][1]:
            found.append((x, y))
    return found


def _last(curve: Curve) -> float:
    return max(curve.nats)


def _drawn(curve: Curve) -> tuple[list[float], list[float]]:
    """Points of a curve on a logarithmic axis: those that cost nothing are left out."""
    pairs = [(x, y) for x, y in zip(curve.x, curve.nats, strict=True) if y > _LEAST and math.isfinite(y)]
    return [x for x, _ in pairs], [y for _, y in pairs]
