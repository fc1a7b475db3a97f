"""Plots that compare one pass of means and variances with draws: quality against latency, and deviations."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from szilard.report import figure_names
from szilard.report.draw import SOFT, THIRD, Plot, colour, line, svg
from szilard.run.read import MethodRun, Run

_HEIGHT = 268  # CSS pixels
_CLOSE = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)  # ticks between powers of ten on a short axis
_MARGIN = 0.2  # of a factor of ten beside the first and the last time
#: Figures of quality that are plotted against time: the first that all ways to predict have.
_FIGURES = (
    ("auroc_best", "OOD AUROC, best score"),
    ("nll", "NLL, nats"),
    ("accuracy", "accuracy"),
    ("rmse", "RMSE"),
)


def name_of(way: Mapping[str, Any]) -> str:
    """A way to predict as users name it."""
    if way["kind"] == "draws":
        return f"{way['draws']} draw{'' if way['draws'] == 1 else 's'}"
    name = "one pass" if way["kind"] == "moments" else "mean weights"
    return name if way["runtime"] == "PyTorch" else f"{name}, {way['runtime']}"


def geometric_ratio(pairs: Mapping[str, Any]) -> float:
    """Geometric mean of the deviation in one pass over that of draws."""
    logs = [math.log(a / b) for a, b in zip(pairs["moments"], pairs["sampled"], strict=True)]
    return math.exp(sum(logs) / len(logs))


def compared(run: Run) -> list[MethodRun]:
    """The methods that ``szilard measure --one-pass`` has compared."""
    return [m for m in run.finished if m.one_pass]


def say(run: Run) -> str:
    """What the section shows, and what it leaves out and why."""
    found = compared(run)
    if not found:
        return ""
    inputs = max(m.one_pass["inputs"] for m in found)
    text = (
        "One forward pass of means and variances (szilard predict --one-pass) beside predictions with the mean weights "
        f"and with draws, on {inputs:,} test inputs."
    )
    measured = [m for m in found if timed(m)]
    if measured:
        time = measured[0].one_pass["time"]
        threads = f"{time['threads']} thread{'' if time['threads'] == 1 else 's'}"
        text += f" Time: of one call, batch {time['batch']}, {time['runtime']}, {threads}; draws are new in "
        text += (
            "each call. Dots: numbers of draws; square: mean weights; diamond: one pass; outlined: compiled."
        )
        if figure_of(measured) != "auroc_best":
            text += " AUROC needs out-of-distribution inputs, which this run does not have; another figure is shown."
    if len(measured) < len(found):
        text += " Times have not been measured: szilard measure RUN --one-pass --latency adds them."
    return text + " Deviations: of the network's outputs, a dot for each; on the diagonal both agree."


def figure_of(methods: list[MethodRun]) -> str:
    """Key of the first figure that all ways to predict have."""
    ways = [way for m in methods for way in m.one_pass["predictions"]]
    return next((key for key, _ in _FIGURES if all(key in way["quality"] for way in ways)), "")


def against_time(run: Run, width: float = THIRD) -> Plot | None:
    """Quality against latency of each way to predict, for all methods.

    A line goes through the numbers of draws. The mean weights are a square and one pass is a diamond, both outlined if
    they are compiled.
    """
    methods = [m for m in compared(run) if timed(m)]
    key = figure_of(methods)
    if not methods or not key:
        return None
    every = [(way["seconds"], way["quality"][key]) for m in methods for way in timed(m)]
    low, high = min(y for _, y in every), max(y for _, y in every)
    room = 0.1 * (high - low) or 0.05 * abs(high) or 1.0
    times = [math.log10(x) for x, _ in every]

    def paint(axes: Any) -> None:
        axes.set_xscale("log")
        axes.set(xlim=(10 ** (min(times) - _MARGIN), 10 ** (max(times) + _MARGIN)), xlabel="time of one call")
        axes.set_ylim(low - 1.6 * room, high + room)  # below: numbers of draws
        _ticks(axes.xaxis, axes.get_xlim(), _short)
        for place, m in enumerate(methods):
            draws = [(way["seconds"], way["quality"][key]) for way in timed(m) if way["kind"] == "draws"]
            line(axes, m.number, [x for x, _ in draws], [y for _, y in draws])
            for way in timed(m):
                _mark(axes, m, way, key, named=not place)
        if key == "accuracy":
            axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")

    title = f"{dict(_FIGURES)[key]}, by time of one call"
    label = f"{title}, for mean weights, one pass and draws of {', '.join(m.name for m in methods)}"
    drawn = svg("one-pass-time", label, paint, width=width, height=_HEIGHT, left=52)
    return Plot(title, drawn, "; ".join(map(_times, methods)))


def deviations(m: MethodRun, width: float = THIRD) -> Plot | None:
    """Standard deviation in one pass against that of draws, on logarithmic axes of one range."""
    pairs = m.one_pass.get("deviations", {})
    if not pairs.get("moments"):
        return None
    import numpy as np

    x, y = np.array(pairs["sampled"]), np.array(pairs["moments"])
    ends = min(x.min(), y.min()) / 1.2, max(x.max(), y.max()) * 1.2

    def paint(axes: Any) -> None:
        axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
        axes.plot(ends, ends, color=SOFT, lw=0.9, dashes=(3, 2), zorder=1)
        axes.scatter(x, y, s=7, color=colour(m.number), lw=0, alpha=0.55, zorder=2)
        axes.set_xlabel(f"sd of {pairs['draws']} draws")
        for axis in (axes.xaxis, axes.yaxis):
            _ticks(axis, ends, "{:g}".format)

    ratio = geometric_ratio(pairs)
    share = f"{len(x):,} of {pairs['outputs']:,}" if len(x) < pairs["outputs"] else f"{len(x):,}"
    caption = f"{share} outputs; one pass / draws = {ratio:.2f} (geometric mean)"
    error = figure_names.percent((2 * pairs["draws"] - 2) ** -0.5, 0)
    caption += f"; the sd of {pairs['draws']} draws has a standard error of {error}"
    epistemic = m.one_pass.get("epistemic_ratio")
    if epistemic is not None:
        ratio_error = m.one_pass.get("epistemic_ratio_error")
        within = "" if ratio_error is None else f" ±{ratio_error:.2f}"
        caption += f"; epistemic uncertainty: one pass / draws = {epistemic:.2f}{within} (means)"
    title = f"{m.name}: sd in one pass"
    label = f"Standard deviation of outputs in one pass against that of draws, {m.name}"
    return Plot(
        title,
        svg(f"one-pass-sd-{m.number}", label, paint, width=width, height=_HEIGHT, left=56),
        caption,
        m.number,
    )


def timed(m: MethodRun) -> list[dict[str, Any]]:
    """The ways to predict whose time was measured."""
    return (
        [way for way in m.one_pass["predictions"] if way["seconds"] is not None] if m.one_pass["time"] else []
    )


def _mark(axes: Any, m: MethodRun, way: dict[str, Any], key: str, *, named: bool) -> None:
    """A marker; numbers of draws are written below those of one method, because all have similar times."""
    x, y, ink = way["seconds"], way["quality"][key], colour(m.number)
    if way["kind"] == "draws":
        axes.scatter([x], [y], s=22, color=ink, lw=0, zorder=3)
        if named:
            place = (0, -7)
            axes.annotate(
                str(way["draws"]), (x, y), place, textcoords="offset points", ha="center", va="top", size=10.5
            )
        return
    face = ink if way["runtime"] == "PyTorch" else "none"
    shape, size = ("D", 38) if way["kind"] == "moments" else ("s", 42)
    axes.scatter([x], [y], s=size, facecolor=face, edgecolor=ink, marker=shape, lw=1.5, zorder=4)


def _times(m: MethodRun) -> str:
    """The times of a method, for the caption."""
    ways = timed(m)
    parts = []
    for kind in ("moments", "point"):
        plain, compiled = (
            next((w for w in ways if w["kind"] == kind and (w["runtime"] == "PyTorch") == own), None)
            for own in (True, False)
        )
        if plain:
            faster = f" ({_together(compiled['seconds'])} in {compiled['runtime']})" if compiled else ""
            parts.append(f"{name_of(plain)} {_together(plain['seconds'])}{faster}")
    draws = [way for way in ways if way["kind"] == "draws"]
    if draws:
        most = max(draws, key=lambda way: way["draws"])
        parts.append(f"{name_of(most)} {_together(most['seconds'])}")
    noise = m.one_pass["time"]["noise"]
    unsure = f" (measured on a noisy machine: {' and '.join(noise)})" if noise else ""
    return f"{m.name}: {', '.join(parts)}{unsure}"


def _together(value: float) -> str:
    """A time whose unit stays on its line."""
    return figure_names.seconds(value).replace(" ", "\u00a0")


def _ticks(axis: Any, ends: tuple[float, float], show: Callable[[float], str]) -> None:
    """Plain numbers on a logarithmic axis, more of them on a short one."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    ratio = ends[1] / ends[0]
    subs = (1.0,) if ratio > 300 else (1.0, 3.0) if ratio > 20 else (1.0, 2.0, 5.0) if ratio > 5 else _CLOSE
    axis.set_major_locator(LogLocator(subs=subs, numticks=8))
    axis.set_major_formatter(FuncFormatter(lambda value, _: show(value)))
    axis.set_minor_locator(NullLocator())


def _short(seconds: float) -> str:
    """A tick: 100 µs, 3 ms."""
    number, _, unit = figure_names.si(seconds, "s").partition(" ")
    return f"{float(number):g} {unit}"
