"""Plots of sparse training: quality against density and training FLOPs, and what moves did by epoch."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from szilard.report import figure_names
from szilard.report.draw import N_COLOURS, SOFT, THIRD, Plot, colour, line, log_scale, svg
from szilard.run.read import MethodRun, Run
from szilard.run.result import is_number, text

_POINTS = 1000  # of a curve
_LINES = 10  # layers in a plot
_WIDE = 8  # ratio from which an axis is logarithmic
_APART = 0.06  # of the axis: between the names of two lines
_STEADY = 1e-9  # a density that changes by less is constant
_QUALITY = (("accuracy", "Accuracy"), ("r2", "R²"), ("rmse", "RMSE"))


class Epoch(NamedTuple):
    """The supports of all layers at the end of an epoch; shares from 0 to 1, those of ``layers`` are densities."""

    epoch: float
    density: float
    replaced: float
    ever_alive: float
    layers: dict[str, float]


def history(m: MethodRun) -> list[Epoch]:
    """What a sparse method has logged by epoch, without damaged lines."""
    found = [epoch for entry in m.history if (epoch := _epoch(entry)) is not None]
    return found[:: 1 + len(found) // _POINTS]


def _epoch(entry: dict[str, Any]) -> Epoch | None:
    logged = entry.get("supports")
    if not isinstance(logged, dict):
        return None
    shares = [logged.get(key) for key in ("density", "replaced", "ever_alive")]
    layers = logged.get("layers")
    if not all(map(_is_share, shares)) or not isinstance(layers, dict):
        return None
    densities = {
        text(name): float(row[0])
        for name, row in layers.items()
        if isinstance(row, list) and row and _is_share(row[0])
    }
    density, replaced, ever_alive = (float(share) for share in shares)  # type: ignore[arg-type]
    return Epoch(float(entry["epoch"]), density, replaced, ever_alive, densities)


def _is_share(value: Any) -> bool:
    return is_number(value) and 0 <= value <= 1


def logged(run: Run) -> list[MethodRun]:
    """The methods whose log follows their supports."""
    return [m for m in run.methods if history(m)]


def against(run: Run, what: str, width: float = THIRD) -> Plot | None:
    """Quality on the test set against ``"density"`` or ``"train_flops"`` of each method, a dot for each."""
    key, name = next(
        ((key, name) for key, name in _QUALITY if all(key in m.test for m in run.finished)), ("nll", "NLL")
    )
    points = [(m, x, m.test[key]) for m in run.finished if (x := _amount(m, what)) and key in m.test]
    if len(points) < 2 or not logged(run):
        return None
    xs = [x for _, x, _ in points]

    def paint(axes: Any) -> None:
        axes.set_xscale("log")
        axes.set_xlim(min(xs) / 1.5, max(xs) * 1.5)
        for m, x, y in points:
            axes.scatter([x], [y], s=40, color=colour(m.number), marker=_marker(m), lw=0, zorder=3)
        if key == "accuracy":
            axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")
        _few_ticks(axes.xaxis, what)
        axes.set_xlabel("stored parameters, % of all" if what == "density" else "FLOPs of training, counted")

    of = "density" if what == "density" else "training FLOPs"
    label = f"{name} on the test set against {of}: " + ", ".join(m.name for m, _, _ in points)
    return Plot(f"{name}, by {of}", svg(f"supports-{what}", label, paint, width=width, left=52))


def _amount(m: MethodRun, what: str) -> float | None:
    if what == "train_flops":
        return m.cost("train_flops")
    kept, every = m.cost("nonzeros"), m.cost("parameters")
    return None if not kept or not every else 100 * kept / every


def _marker(m: MethodRun) -> str:
    """Another shape where colours repeat."""
    return "osD^v"[m.number // N_COLOURS % 5]


def _few_ticks(axis: Any, what: str) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    low, high = axis.get_view_interval()
    wide, long = high / low > 30, high / low > 300
    steps = (1.0,) if long else (1.0, 3.0) if wide else (1.0, 2.0, 5.0)
    axis.set_major_locator(LogLocator(subs=steps, numticks=6))
    show = (lambda x: f"{x:g} %") if what == "density" else (lambda x: figure_names.si(x).replace(".00", ""))
    axis.set_major_formatter(FuncFormatter(lambda value, _: show(value)))
    axis.set_minor_locator(NullLocator())


def over_time(run: Run, what: str, width: float = THIRD) -> Plot | None:
    """``"replaced"`` or ``"ever_alive"`` by epoch: a line for each method."""
    titles = {
        "replaced": ("Entries replaced", "% of the entries of an epoch's end that its start did not have"),
        "ever_alive": ("Entries ever alive", "% of all entries that have existed at some step"),
    }
    title, caption = titles[what]
    curves = [
        (m, [e.epoch for e in found], [100 * getattr(e, what) for e in found])
        for m in run.methods
        if (found := history(m))
    ]
    if not any(any(y) for _, _, y in curves):
        return None

    def paint(axes: Any) -> None:
        for m, x, y in curves:
            line(axes, m.number, x, y)
        ends = [value for _, _, y in curves for value in (min(y), max(y))]
        if min(ends) > 0 and max(ends) / min(ends) > _WIDE:
            log_scale(axes)
        else:
            axes.set_ylim(bottom=0)
        _epochs(axes, "%")

    label = f"{title} by epoch of {', '.join(m.name for m, _, _ in curves)}"
    return Plot(title, svg(f"supports-{what}", label, paint, width=width), caption)


def densities(m: MethodRun, width: float = THIRD) -> Plot | None:
    """Density of each layer by epoch, for a method that changes it; the darkest line is the whole network."""
    found = history(m)
    names = list(found[0].layers) if found else []
    changes = any(
        max(values) - min(values) > _STEADY
        for values in ([e.layers.get(name, 0.0) for e in found] for name in names)
    )
    if not changes:
        return None
    shown = names if len(names) <= _LINES else names[:: -(-len(names) // _LINES)]

    def paint(axes: Any) -> None:
        for name in shown:
            known = [(e.epoch, 100 * e.layers[name]) for e in found if e.layers.get(name)]
            if known:
                axes.plot(*zip(*known, strict=True), color=colour(m.number), lw=1, alpha=0.5)
        axes.plot([e.epoch for e in found], [100 * e.density for e in found], color=colour(m.number), lw=2.2)
        log_scale(axes)
        _epochs(axes, "% of entries")
        _name_lines(axes, {name: 100 * found[-1].layers.get(name, 0.0) for name in shown}, found[-1].epoch)

    part = f"; {len(shown)} of {len(names)} layers" if len(shown) < len(names) else ""
    title = f"{m.name}: density by layer"
    return Plot(
        title,
        svg(f"supports-layers-{m.number}", title, paint, width=width),
        f"thick: all layers together{part}",
        m.number,
    )


def _name_lines(axes: Any, ends: dict[str, float], x: float) -> None:
    """Layers' names above the ends of their lines, without those that would overlap; the highest first."""
    low, high = (math.log(end) for end in axes.get_ylim())
    last = math.inf
    for name, y in sorted(ends.items(), key=lambda item: -item[1]):
        if y > 0 and last - math.log(y) > _APART * (high - low):
            last = math.log(y)
            axes.annotate(
                name[-18:], (x, y), (0, 2), textcoords="offset points", size=9, ha="right", color=SOFT
            )


def _epochs(axes: Any, y: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.set(xlabel="epoch", ylabel=y)
