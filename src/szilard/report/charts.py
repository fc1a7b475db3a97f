"""The pictures of a report: each takes a run and gives SVG, or None where the run has nothing to draw."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from szilard.report.draw import COLOURS, svg
from szilard.report.read import MethodRun, Run

if TYPE_CHECKING:
    import numpy as np

_START, _END = "#9aa5ab", "#0d9488"


def colour(run: Run, method: MethodRun) -> str:
    """The colour of a method in every picture of the page."""
    return COLOURS[run.methods.index(method) % len(COLOURS)]


def training(run: Run) -> str | None:
    """Free energy of each method by epoch, solid, with its energy term dotted."""
    methods = [m for m in run.methods if m.history]
    if not methods:
        return None

    def paint(figure: Any) -> None:
        axes = figure.subplots()
        for m in methods:
            epochs = [line["epoch"] for line in m.history]
            axes.plot(
                epochs,
                [_number(line.get("free_energy")) for line in m.history],
                color=colour(run, m),
                label=m.name,
            )
            axes.plot(
                epochs, [_number(line.get("energy")) for line in m.history], ":", color=colour(run, m), lw=1.1
            )
        axes.set(xlabel="epoch", title="Free energy (solid) and its energy term (dotted), nats")
        _log_if_positive(axes)
        axes.legend()

    return svg(paint, "training")


def validation(run: Run) -> str | None:
    """Validation NLL by epoch."""
    return _history(run, "nll", "Validation NLL, nats")


def validation_quality(run: Run) -> str | None:
    """Validation accuracy or RMSE by epoch."""
    seen: dict[str, Any] = next(
        (line["valid"] for m in run.methods for line in m.history if line.get("valid")), {}
    )
    key = "accuracy" if "accuracy" in seen else "rmse"
    return _history(run, key, f"Validation {'accuracy' if key == 'accuracy' else 'RMSE'}")


def _history(run: Run, key: str, title: str) -> str | None:
    methods = [m for m in run.methods if any(key in line.get("valid", {}) for line in m.history)]
    if not methods:
        return None

    def paint(figure: Any) -> None:
        axes = figure.subplots()
        for m in methods:
            points = [
                (line["epoch"], _number(line["valid"][key]))
                for line in m.history
                if key in line.get("valid", {})
            ]
            axes.plot(*zip(*points, strict=True), color=colour(run, m), label=m.name)
        axes.set(xlabel="epoch", title=title)
        axes.legend()

    return svg(paint, f"valid-{key}")


def reliability(run: Run) -> str | None:
    """Accuracy against confidence of the top label; a dot's area is its share of the test set."""
    methods = [m for m in run.finished if m.array("reliability_count") is not None]
    if not methods:
        return None

    def paint(figure: Any) -> None:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color="#9aa5ab", lw=0.8, ls="--")
        for m in methods:
            count = m.arrays["reliability_count"]
            seen = count > 0
            x, y = m.arrays["reliability_confidence"][seen], m.arrays["reliability_accuracy"][seen]
            axes.plot(
                x, y, color=colour(run, m), label=f"{m.name}: ECE {m.test.get('ece', float('nan')):.3f}"
            )
            axes.scatter(x, y, s=4 + 120 * count[seen] / count.sum(), color=colour(run, m), lw=0, alpha=0.7)
        axes.set(
            xlabel="confidence",
            title="Reliability: accuracy where the network is so sure",
            xlim=(0, 1.02),
            ylim=(0, 1.04),
        )
        axes.legend(loc="upper left")

    return svg(paint, "reliability", height=3.4)


def predicted(run: Run) -> str | None:
    """Predicted against true, with two standard deviations, of the first method of a regression."""
    m = next((m for m in run.finished if m.array("test_target") is not None), None)
    if m is None:
        return None
    target, mean, deviation = m.arrays["test_target"], m.arrays["test_mean"], m.arrays["test_variance"] ** 0.5

    def paint(figure: Any) -> None:
        axes = figure.subplots()
        step = max(1, len(target) // 400)
        low, high = float(target.min()), float(target.max())
        axes.plot([low, high], [low, high], color="#9aa5ab", lw=0.8, ls="--")
        axes.errorbar(
            target[::step], mean[::step], 2 * deviation[::step],
            fmt="o", ms=2.5, lw=0.6, color=colour(run, m), ecolor=colour(run, m) + "66",
        )  # fmt: skip
        axes.set(xlabel="true", ylabel="predicted", title=f"{m.name}: mean ± two standard deviations")

    return svg(paint, "predicted", height=3.4)


def risk_coverage(run: Run) -> str | None:
    """What is left of the error when the network answers only where it is surest."""
    methods = [m for m in run.finished if m.array("risk_coverage_risk") is not None]
    if not methods:
        return None

    def paint(figure: Any) -> None:
        axes = figure.subplots()
        for m in methods:
            x, y = m.arrays["risk_coverage_coverage"], m.arrays["risk_coverage_risk"]
            keep = slice(max(0, len(x) // 50), None, max(1, len(x) // 500))
            axes.plot(x[keep], y[keep], color=colour(run, m), label=m.name)
        axes.set(
            xlabel="share of inputs answered, surest first",
            title="Risk: mean loss among those",
            ylim=(0, None),
        )
        axes.legend()

    return svg(paint, "risk", height=3.4)


def elsewhere(run: Run) -> str | None:
    """Max-probability on the test set and on inputs of other origin, a panel a method."""
    methods = [m for m in run.finished if m.array("ood_max_probability") is not None]
    if not methods:
        return None

    def paint(figure: Any) -> None:
        import numpy as np

        panels = np.atleast_1d(figure.subplots(1, len(methods), sharey=True))
        bins = np.linspace(0, 1, 26)
        for axes, m in zip(panels, methods, strict=True):
            for name, ink in (("test", colour(run, m)), ("ood", "#9aa5ab")):
                values = m.arrays[f"{name}_max_probability"]
                axes.hist(
                    values,
                    bins,
                    weights=np.full(len(values), 1 / len(values)),
                    color=ink,
                    alpha=0.65,
                    label=name,
                )
            axes.set(
                title=f"{m.name}\nAUROC {m.test.get('auroc_max_probability', float('nan')):.3f}",
                xlabel="max-probability",
            )
        panels[0].legend(["test", str(run.first("ood") or "elsewhere")], loc="upper left")

    return svg(paint, "elsewhere", width=max(4.6, 3.1 * len(methods)))


def density(run: Run) -> str | None:
    """Fraction of entries that exist, per weight, of the methods that are sparse."""
    methods = [m for m in run.finished if any(d < 1 for d in m.result.get("density", {}).values())]
    if not methods:
        return None
    layers = list(dict.fromkeys(name for m in methods for name in m.result["density"]))

    def paint(figure: Any) -> None:
        axes = figure.subplots()
        height = 0.8 / len(methods)
        for number, m in enumerate(methods):
            values = [100 * m.result["density"].get(name, 0) for name in layers]
            places = [place + number * height for place in range(len(layers))]
            bars = axes.barh(places, values, height * 0.9, color=colour(run, m), label=m.name)
            if len(layers) <= 12:
                axes.bar_label(bars, fmt="%.3g %%", padding=3, fontsize=8)
        axes.set_yticks(range(len(layers)), layers)
        axes.invert_yaxis()
        axes.margins(x=0.15)
        axes.set(xlabel="% of entries that exist", title="Density by layer")
        if len(methods) > 1:
            axes.legend()

    return svg(paint, "density", height=max(2.0, 0.6 + 0.28 * len(layers) * len(methods)))


def posterior(run: Run, m: MethodRun) -> str | None:
    """ln σ and ln(|μ|/σ) of all weights, at the start and at the end."""
    log_std = [part for when in ("start", "end") for part in _joined(m, "log_std", when)]
    snr = [part for when in ("start", "end") for part in _joined(m, "snr", when)]
    if len(log_std) < 2 or len(snr) < 2:
        return None

    def paint(figure: Any) -> None:
        import numpy as np

        left, right = figure.subplots(1, 2)
        for axes, parts, title in (
            (left, log_std, "ln σ"),
            (right, [np.log10(np.maximum(part, 1e-4)) for part in snr], "log₁₀ |μ|/σ"),
        ):
            low, high = min(float(p.min()) for p in parts), max(float(p.max()) for p in parts)
            bins = np.linspace(low - 0.05, high + 0.05, 60)
            for part, ink, name in zip(parts, (_START, _END), ("start", "end"), strict=True):
                share = np.full(len(part), 1 / len(part))
                axes.hist(part, bins, weights=share, color=ink, alpha=0.7, label=name)
            axes.set(title=f"{m.name}: {title}", yscale="log" if title == "ln σ" else "linear")
            axes.legend()

    return svg(paint, f"posterior-{run.methods.index(m)}", width=7.4, height=2.6)


def moved(m: MethodRun) -> float | None:
    """Median over weights and entries of how far ln σ lies from the median where it started."""
    import numpy as np

    start, end = _joined_list(m, "log_std", "start"), _joined_list(m, "log_std", "end")
    if not start or len(start) != len(end):
        return None
    return float(
        np.median(np.concatenate([np.abs(e - np.median(s)) for s, e in zip(start, end, strict=True)]))
    )


def _joined_list(m: MethodRun, what: str, when: str) -> list[np.ndarray]:
    found: list[np.ndarray] = []
    while (part := m.array(f"{what}_{when}_{len(found)}")) is not None:
        found.append(part)
    return found


def _joined(m: MethodRun, what: str, when: str) -> list[np.ndarray]:
    """All weights in one array, or an empty list."""
    import numpy as np

    found = _joined_list(m, what, when)
    return [np.concatenate(found)] if found else []


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _log_if_positive(axes: Any) -> None:
    values = [v for line in axes.lines for v in line.get_ydata() if math.isfinite(v)]
    if values and min(values) > 0 and max(values) / min(values) > 20:
        axes.set_yscale("log")
