"""Plots of calibration, selective prediction and out-of-distribution detection."""

from __future__ import annotations

from typing import Any

from szilard.report import figure_names
from szilard.report.draw import INK, SOFT, THIRD, Plot, colour, line, svg
from szilard.run.read import MethodRun, Run

_Z95 = 1.959964
_BINS = 1000  # maximum for a reliability diagram; each bin is a separate shape
_CURVE = 400  # points of a curve; more are not visible
_DOTS = 300  # targets with error bars in one plot
_COVERAGE = 0.8
_MOST_TARGETS = 4  # targets with a plot, if there are several
_HEIGHT = 282  # CSS pixels


def reliability(m: MethodRun, width: float = THIRD) -> Plot | None:
    """Accuracy against confidence of the top label in each bin, with 95 % Wilson intervals; below, a histogram of the
    confidences."""
    if not m.has("reliability_edges", "reliability_confidence", "reliability_accuracy", "reliability_count"):
        return None
    import numpy as np

    names = ("edges", "confidence", "accuracy", "count")
    edges, confidence, accuracy, count = (m.arrays[f"reliability_{name}"].astype(float) for name in names)
    if len(edges) > _BINS:
        raise ValueError("too many bins")
    if not (accuracy[count > 0] <= 1).all():
        raise ValueError("shares above one")
    seen = count > 0
    if not seen.any():
        return None
    x, y, n = confidence[seen], accuracy[seen], count[seen]
    middle = (y * n + _Z95**2 / 2) / (n + _Z95**2)
    half = _Z95 / (n + _Z95**2) * np.sqrt(n * y * (1 - y) + _Z95**2 / 4)

    def paint(axes: Any, below: Any) -> None:
        ink = colour(m.number)
        axes.plot([0, 1], [0, 1], color=SOFT, lw=0.9, dashes=(3, 2))
        axes.vlines(x, middle - half, middle + half, color=ink, lw=1.2, alpha=0.55)
        axes.plot(x, y, color=ink, lw=1, alpha=0.6)
        axes.scatter(x, y, s=14, color=ink, lw=0, zorder=3)
        axes.set(xlim=(0, 1.01), ylim=(-0.02, 1.04), yticks=[0, 0.5, 1])
        axes.tick_params(labelbottom=False, bottom=False)
        axes.spines["bottom"].set_visible(False)
        below.bar(
            edges[:-1], count / count.sum(), np.diff(edges) * 0.9, align="edge", color=ink, alpha=0.75, lw=0
        )
        below.set(xlim=(0, 1.01), xlabel="confidence", yticks=[])
        below.grid(visible=False)

    label = f"Reliability diagram of {m.name}: accuracy against confidence"
    drawn = svg(f"reliability-{m.number}", label, paint, width=width, height=_HEIGHT, rows=(4, 1))
    parts = [f"ECE {m.test['ece']:.3f}"] if "ece" in m.test else []
    if all(key in m.test for key in ("entropy", "aleatoric", "epistemic")):
        entropy, data, own = (m.test[key] for key in ("entropy", "aleatoric", "epistemic"))
        parts.append(f"entropy {entropy:.2f} = aleatoric {data:.2f} + epistemic {own:.2f}, nats")
    return Plot(m.name, drawn, "; ".join(parts), m.number)


def n_targets(m: MethodRun) -> int:
    """Number of plots of :func:`predicted` for a method: one for each of the first few targets."""
    target = m.arrays.get("test_target")
    return 1 if target is None or target.ndim != 2 else min(_MOST_TARGETS, target.shape[1])


def predicted(run: Run, m: MethodRun, width: float = THIRD, target: int = 0) -> Plot | None:
    """Predicted against true with 95 % error bars; those that do not contain the true value are uncoloured.

    Args:
        run: the run.
        m: the method.
        width: of the plot, in CSS pixels.
        target: index of the target, if there are several.
    """
    if not m.has("test_target", "test_mean", "test_variance"):
        return None
    import numpy as np

    several = m.arrays["test_target"].ndim == 2
    y, mean, variance = (
        (m.arrays[name][:, target] if several else m.arrays[name]).astype(float).ravel()
        for name in ("test_target", "test_mean", "test_variance")
    )
    called = _target(run, target) if several else str(run.asked("data", "target") or "target")
    fine = np.isfinite(y) & np.isfinite(mean) & np.isfinite(variance)
    y, mean, half = y[fine], mean[fine], _Z95 * np.sqrt(np.maximum(variance[fine], 0))
    if not len(y):
        return None
    shown = np.unique(np.linspace(0, len(y) - 1, min(len(y), _DOTS)).astype(int))
    missed = np.abs(y - mean) > half

    def paint(axes: Any) -> None:
        ends = [float(y.min()), float(y.max())]
        axes.plot(ends, ends, color=SOFT, lw=0.9, dashes=(3, 2))
        for ink, part in ((colour(m.number), shown[~missed[shown]]), (INK, shown[missed[shown]])):
            axes.vlines(y[part], (mean - half)[part], (mean + half)[part], color=ink, lw=0.8, alpha=0.4)
            axes.scatter(y[part], mean[part], s=9, color=ink, lw=0, zorder=3)
        axes.set_xlabel(f"true {called}")

    key, label = f"predicted-{m.number}", f"Predicted against true of {m.name}"
    if several:
        key, label = f"{key}-{target}", f"{label}: {called}"
    drawn = svg(key, label, paint, width=width, height=_HEIGHT)
    held = float(1 - missed.mean())
    held = held if several else m.test.get("coverage95", held)
    parts = f"the 95 % intervals contain {figure_names.percent(held)} of {len(y):,} targets"
    if not several and all(key in m.test for key in ("aleatoric", "epistemic")):
        parts += (
            f"; standard deviations: aleatoric {m.test['aleatoric']:.3g}, epistemic {m.test['epistemic']:.3g}"
        )
    return Plot(f"{m.name}: {called}" if several else m.name, drawn, parts, m.number)


def _target(run: Run, number: int) -> str:
    names = run.fact("targets")
    known = isinstance(names, list) and number < len(names)
    return str(names[number]) if known else f"target {number}"


def risk_coverage(run: Run, width: float = THIRD) -> Plot | None:
    """Error of the most certain predictions, for every fraction of them."""
    import numpy as np

    in_units = run.target_type.in_units
    curves = []
    for m in run.finished:
        if not m.has("risk_coverage_coverage", "risk_coverage_risk"):
            continue
        x, y = (m.arrays[f"risk_coverage_{name}"].astype(float).ravel() for name in ("coverage", "risk"))
        if len(x) != len(y):
            continue
        y = np.sqrt(np.maximum(y, 0)) if in_units else 100 * y
        # The mean over the first few inputs is too noisy to show.
        keep = np.unique(np.linspace(min(len(x) - 1, len(x) // 50), len(x) - 1, _CURVE).astype(int))
        at = float(y[min(int(np.searchsorted(x, _COVERAGE)), len(y) - 1)])
        curves.append((m, x[keep], y[keep], at))
    if not curves:
        return None

    def paint(axes: Any) -> None:
        axes.axvline(100 * _COVERAGE, color=SOFT, lw=0.8, dashes=(1, 2))
        for m, x, y, _ in curves:
            line(axes, m.number, 100 * x, y)
        axes.set(xlim=(0, 101), xlabel="coverage: % of inputs, most certain first")
        axes.set_ylim(bottom=0)

    title = "Risk–coverage curve: RMSE" if in_units else "Risk–coverage curve: error, %"
    if run.fact("by_target"):
        title += ", in deviations of each target"
    left = "; ".join(f"{m.name}: {at:.3g}" if in_units else f"{m.name}: {at:.1f} %" for m, _, _, at in curves)
    label = f"Risk-coverage curves of {', '.join(m.name for m, *_ in curves)}"
    caption = f"at {figure_names.percent(_COVERAGE, 0)} coverage, {left}"
    return Plot(title, svg("risk", label, paint, width=width, height=_HEIGHT), caption)


def elsewhere(run: Run) -> list[Plot]:
    """Max-probability on the test set and on out-of-distribution inputs, on one scale for all methods."""
    import numpy as np

    bins = np.linspace(0, 1, 26)
    shares = []
    for m in run.finished:
        if not m.has("test_max_probability", "ood_max_probability"):
            continue
        inside, outside = (
            np.histogram(m.arrays[f"{name}_max_probability"].astype(float), bins)[0]
            for name in ("test", "ood")
        )
        shares.append((m, inside / max(1, inside.sum()), outside / max(1, outside.sum())))
    top = max((float(max(a.max(), b.max())) for _, a, b in shares), default=1.0)
    found = []
    for m, inside, outside in shares:

        def paint(axes: Any, m: MethodRun = m, inside: Any = inside, outside: Any = outside) -> None:
            axes.stairs(100 * inside, bins, fill=True, color=colour(m.number), alpha=0.75, lw=0)
            axes.stairs(100 * outside, bins, color=INK, lw=1.2)
            axes.set(xlim=(0, 1.01), ylim=(0, 104 * top), xlabel="probability of the predicted class")

        label = f"Max-probability of {m.name} on test inputs and on out-of-distribution inputs"
        scores = (
            ("max_probability", "max-probability"),
            ("entropy", "entropy"),
            ("mutual_information", "mutual information"),
        )
        parts = [f"{m.test[f'auroc_{k}']:.3f} by {name}" for k, name in scores if f"auroc_{k}" in m.test]
        caption = f"AUROC {', '.join(parts)}" if parts else ""
        found.append(Plot(m.name, svg(f"ood-{m.number}", label, paint), caption, m.number))
    return found
