"""Training curves: free energy, its two terms, and validation metrics by epoch."""

from __future__ import annotations

from typing import Any

from szilard.report.draw import Plot, line, log_scale, svg
from szilard.run.read import MethodRun, Run
from szilard.run.result import is_number

_EPOCHS = "epoch"
_POINTS = 4000  # points of a curve; more are not visible
_LARGEST = 1e30  # larger values cannot be drawn on an axis


def plots(run: Run) -> list[Plot]:
    """F, its terms, then validation metrics, without those that no method has logged."""
    seen: set[str] = {
        key
        for m in run.methods
        for entry in m.history
        for key in _valid(entry)
        if is_number(_valid(entry)[key])
    }
    right = "accuracy" in seen and not run.target_type.in_units
    quality, what = ("accuracy", "Validation accuracy") if right else ("rmse", "Validation RMSE")
    if "r2" in seen:
        quality, what = "r2", "Validation R²"
    found = [
        _plot(run, "free_energy", "Free energy F", "nats per training example; the sum of its two terms"),
        _plot(run, "energy", "= expected loss", "nats per training example, over draws of the weights"),
        _plot(run, "cost", "+ T/N · divergence", "nats per training example: the cost of the weights"),
        _plot(run, "nll", "Validation NLL", "nats per input", of_valid=True),
        _plot(
            run, quality, what, "few draws of the weights, so noisier than the test metrics", of_valid=True
        ),
    ]
    return [plot for plot in found if plot]


def _plot(run: Run, key: str, title: str, caption: str, *, of_valid: bool = False) -> Plot | None:
    curves = [(m, *_points(m, key, of_valid)) for m in run.methods]
    # A deterministic network has no divergence; a line at zero would require a linear axis.
    curves = [(m, x, y) for m, x, y in curves if any(y) or (y and key != "cost")]
    if not curves:
        return None

    def paint(axes: Any) -> None:
        from matplotlib.ticker import MaxNLocator

        for m, x, y in curves:
            line(axes, m.number, x, y)
        values = [v for _, _, y in curves for v in y]
        if key != "accuracy" and min(values) > 0 and max(values) / min(values) > 20:
            log_scale(axes)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axes.set_xlabel(_EPOCHS)

    label = f"{title} by epoch of {', '.join(m.name for m, _, _ in curves)}"
    return Plot(title, svg(f"curve-{'valid-' if of_valid else ''}{key}", label, paint), caption)


def _points(m: MethodRun, key: str, of_valid: bool) -> tuple[list[float], list[float]]:
    values = [(e["epoch"], (_valid(e) if of_valid else e).get(key)) for e in m.history]
    known = [(float(x), float(y)) for x, y in values if y is not None and is_number(y) and abs(y) < _LARGEST]
    known = known[:: 1 + len(known) // _POINTS]
    return [x for x, _ in known], [y for _, y in known]


def _valid(entry: dict[str, Any]) -> dict[str, Any]:
    valid = entry.get("valid")
    return valid if isinstance(valid, dict) else {}
