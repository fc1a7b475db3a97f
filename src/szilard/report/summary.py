"""The title, the facts and the generated summary sentences of a run."""

from __future__ import annotations

import math
from typing import Any

from szilard import _moved
from szilard.report import figure_names
from szilard.run.read import MethodRun, Run


def title(run: Run) -> str:
    """The network and the data set."""
    network = run.fact("network") or run.asked("network", "spec")
    data = run.fact("data") or run.asked("data", "name")
    if network is None and data is None:
        return run.title
    return f"{network or 'A network'} on {data or 'unknown data'}"


def facts(run: Run) -> list[tuple[str, str]]:
    """The settings to show: (name, value)."""
    found = [
        ("training examples", run.fact("n_train")),
        ("test inputs", n_test(run)),
        ("epochs", run.fact("epochs") or run.asked("fit", "epochs")),
        ("steps", run.fact("steps")),
        ("draws per prediction", run.fact("samples") or run.asked("fit", "samples")),
        ("out-of-distribution", run.fact("ood")),
    ]
    seed = next((m.result["seed"] for m in run.finished if "seed" in m.result), run.asked("fit", "seed"))
    parts = [(what, f"{v:,}" if isinstance(v, int) else str(v)) for what, v in found if v is not None]
    return parts if seed is None else [*parts, ("seed", str(seed))]


def comparison(run: Run) -> str:
    """The first finished method of the run compared with the deterministic baseline: quality, then cost."""
    if not run.finished:
        return "No method has finished yet."
    main, base = run.finished[0], run.baseline
    if base is None or base is main:
        others = [m for m in run.finished if m is not main]
        return _alone(run, main) if not others else _both(run, main, others[0])
    return _both(run, main, base)


def _alone(run: Run, main: MethodRun) -> str:
    parts = [text for text in (_level(main), _nll(main)) if text]
    return f"{_upper(_named(main))} reaches {' and '.join(parts) or 'an unknown quality'}; the run has no other method."


def _both(run: Run, main: MethodRun, base: MethodRun) -> str:
    quality = [t for t in (_accuracy(main, base), _likelihood(main, base), _elsewhere(run, main, base)) if t]
    cost = [
        _factor(main, base, "bits", "memory", "less"),
        _factor(main, base, "macs", "multiply-adds per inference", "fewer"),
        _factor(main, base, "train_flops", "training FLOPs", "fewer"),
    ]
    sentence = f"Compared with {_named(base)}, {_named(main)} {_listed(quality) or 'has no quality figure in common'}."
    if known := [text for text in cost if text]:
        sentence += f" It needs {_listed(known)}."
    return sentence


def _accuracy(main: MethodRun, base: MethodRun) -> str:
    a, b = main.test.get("accuracy"), base.test.get("accuracy")
    if a is None or b is None:
        a, b = main.test.get("r2"), base.test.get("r2")
        if a is not None and b is not None:
            return f"has an R² of {a:.3f} against {b:.3f}"
        a, b = main.test.get("rmse"), base.test.get("rmse")
        return "" if a is None or b is None else f"has an RMSE of {_size(a)} against {_size(b)}"
    against = f"({figure_names.percent(a)} against {figure_names.percent(b)}"
    noise = _noise(main, base)
    if noise is not None and abs(a - b) <= 2 * noise:
        return f"is equally accurate within sampling error {against}, ± {200 * noise:.1f} points)"
    if figure_names.percent(a) == figure_names.percent(b):
        return f"is equally accurate {against})"
    how = "more" if a > b else "less"
    return f"is {100 * abs(a - b):.1f} points {how} accurate {against})"


def _noise(main: MethodRun, base: MethodRun) -> float | None:
    """Standard error of the difference in accuracy, if both were evaluated on the same test inputs."""
    import numpy as np

    if not all(m.has("test_mean_probabilities", "test_labels") for m in (main, base)):
        return None
    labels = main.arrays["test_labels"]
    p, q = (m.arrays["test_mean_probabilities"] for m in (main, base))
    if labels.shape != base.arrays["test_labels"].shape or p.ndim != 2 or p.shape != q.shape:
        return None
    if len(p) != len(labels) or (labels != base.arrays["test_labels"]).any():
        return None
    if not all(array.dtype.kind in "iufb" for array in (labels, p, q)) or labels.ndim != 1:
        return None
    difference = (p.argmax(1) == labels).astype(float) - (q.argmax(1) == labels)
    return float(np.std(difference)) / math.sqrt(len(labels))


def _likelihood(main: MethodRun, base: MethodRun) -> str:
    a, b = main.test.get("nll"), base.test.get("nll")
    if a is None or b is None:
        return ""
    how = "a lower" if a < b else "a higher"
    if f"{a:.3f}" == f"{b:.3f}":
        how = "the same"
    return f"has {how} NLL ({a:.3f} against {b:.3f} nats)"


def _elsewhere(run: Run, main: MethodRun, base: MethodRun) -> str:
    a, b = main.test.get("auroc_best"), base.test.get("auroc_best")
    if a is None or b is None:
        return ""
    how = "better" if a > b else "worse"
    if f"{a:.3f}" == f"{b:.3f}":
        how = "equally well"
    return f"detects {run.fact('ood') or 'out-of-distribution inputs'} {how} (AUROC {a:.3f} against {b:.3f})"


def _factor(main: MethodRun, base: MethodRun, figure: str, what: str, less: str) -> str:
    a, b = main.cost(figure), base.cost(figure)
    if not a or not b:
        return ""
    if 0.95 < a / b < 1.05:
        return f"{'as much' if less == 'less' else 'as many'} {what}"
    return f"{b / a:.2g}× {less} {what}" if a < b else f"{a / b:.2g}× the {what}"


def _level(m: MethodRun) -> str:
    if "accuracy" in m.test:
        return f"{figure_names.percent(m.test['accuracy'])} accuracy"
    if "r2" in m.test:
        return f"an R² of {m.test['r2']:.3f}"
    return f"an RMSE of {_size(m.test['rmse'])}" if "rmse" in m.test else ""


def _size(value: float) -> str:
    """A number in a sentence."""
    return f"{value:.3g}" if abs(value) < 1000 else figure_names.digits(value)


def _nll(m: MethodRun) -> str:
    return f"an NLL of {m.test['nll']:.3f} nats" if "nll" in m.test else ""


def n_test(run: Run) -> int | None:
    """Number of test inputs, if known."""
    counted = run.fact("n_test")
    if isinstance(counted, int):
        return counted
    sizes = (
        len(m.arrays[n].ravel()) for m in run.finished for n in ("test_labels", "test_target") if m.has(n)
    )
    return next(sizes, None)


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""


def _named(m: MethodRun) -> str:
    """A name in a sentence: the part after its comma is put in brackets."""
    name, comma, more = m.name.partition(", ")
    return f"{name} ({more})" if comma else name


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def __getattr__(name: str) -> Any:
    return _moved.name_of(__name__, name)
