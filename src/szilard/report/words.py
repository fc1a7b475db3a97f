"""Numbers as people read them, and the one sentence that says what came out."""

from __future__ import annotations

import math

from szilard.report.read import MethodRun, Run

#: figure -> (heading, larger is better, digits)
QUALITY: dict[str, tuple[str, bool | None, int]] = {
    "accuracy": ("accuracy", True, 3),
    "rmse": ("RMSE", False, 4),
    "nll": ("NLL", False, 3),
    "brier": ("Brier", False, 3),
    "ece": ("ECE", False, 3),
    "coverage95": ("coverage of 95 %", None, 3),
    "auroc_best": ("OOD AUROC", True, 3),
}
#: figure -> heading; less is better
COST = {
    "nonzeros": "numbers",
    "bits": "memory",
    "macs": "MACs",
    "train_flops": "training FLOPs",
    "joules_inference": "joules / inference",
    "seconds": "seconds",
    "peak_bytes": "peak memory",
}
_BYTES = {"bits", "peak_bytes"}


def figure(name: str, value: float | None) -> str:
    """A figure of cost with its unit."""
    if value is None:
        return "–"
    if name in _BYTES:
        return si(value / 8 if name == "bits" else value) + "B"
    if name == "joules_inference":
        return si(value) + "J"
    return f"{value:.1f} s" if name == "seconds" else si(value)


def si(value: float) -> str:
    """Three digits and a prefix: 1 234 567 is ``1.23 M``."""
    if not value or not math.isfinite(value):
        return f"{value:g} "
    power = min(max(math.floor(math.log10(abs(value)) / 3), -5), 5)
    scaled = value / 1000.0**power
    if abs(float(f"{scaled:.3g}")) >= 1000 and power < 5:
        power, scaled = power + 1, scaled / 1000
    prefix = {-5: "f", -4: "p", -3: "n", -2: "µ", -1: "m", 0: "", 1: "k", 2: "M", 3: "G", 4: "T", 5: "P"}[
        power
    ]
    return f"{scaled:.3g} {prefix}"


def ratio(value: float | None, base: float | None) -> str:
    """``0.05×`` of the baseline, empty where either is unknown."""
    if value is None or not base:
        return ""
    return f"{value / base:.2g}×" if value / base < 99.5 else f"{value / base:.0f}×"


def baseline(run: Run) -> MethodRun | None:
    """The dense deterministic network, if it has finished."""
    return next((m for m in run.finished if m.key == "deterministic"), None)


def headline(run: Run) -> str:
    """What came out, computed: the first method of the run against the deterministic baseline."""
    if not run.finished:
        return "No method has finished yet."
    main = run.finished[0]
    key = "accuracy" if "accuracy" in main.test else "rmse"
    said = _quality(main.test.get(key), key)
    base = baseline(run)
    sentence = f"{main.name} reaches {said} on {run.first('data')}"
    if base is None or base is main:
        return sentence + "."
    sentence += f", where the dense deterministic network reaches {_quality(base.test.get(key), key)}"
    if "nll" in main.test and "nll" in base.test:
        sentence += (
            f"; its negative log likelihood is {main.test['nll']:.3f} against {base.test['nll']:.3f} nats"
        )
    shares = [
        f"{main.cost(name) / base.cost(name):.2g}× the {word}"  # type: ignore[operator]
        for name, word in (("bits", "memory"), ("macs", "multiply-adds"))
        if main.cost(name) is not None and base.cost(name)
    ]
    return sentence + (f"; it takes {' and '.join(shares)}." if shares else ".")


def _quality(value: float | None, key: str) -> str:
    if value is None:
        return "an unknown quality"
    return f"{100 * value:.1f} % accuracy" if key == "accuracy" else f"an RMSE of {value:.3g}"
