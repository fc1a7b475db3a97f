"""Plots of the weights: density, σ and signal to noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from szilard.report.draw import SOFT, Plot, colour, svg
from szilard.run.read import MethodRun, Run
from szilard.run.result import text

if TYPE_CHECKING:
    import numpy as np

_BINS = 56
_LONGEST = 22  # characters of a layer's name in a plot
_MOST_LAYERS = 400  # in a plot
_STILL = 0.05  # nats; a smaller median change of ln σ, below 5 %, counts as no change


@dataclass(frozen=True)
class Weight:
    """One Gaussian weight tensor; ``log_std`` and ``snr`` are (start, end), subsampled to at most 20 000 entries."""

    name: str
    log_std: tuple[np.ndarray, np.ndarray]
    snr: tuple[np.ndarray, np.ndarray]
    change: np.ndarray  # |Δ ln σ| of each entry

    @property
    def start(self) -> float:
        return _median(self.log_std[0])

    @property
    def end(self) -> float:
        return _median(self.log_std[1])

    @property
    def moved(self) -> float:
        return _median(self.change)

    @property
    def drowned(self) -> float:
        """Fraction of entries with |μ| < σ."""
        return float((self.snr[1] < 1).mean())


@dataclass(frozen=True)
class Posterior:
    """The Gaussian weights of one method, at the start and the end of training."""

    method: MethodRun
    weights: list[Weight]
    plots: list[Plot]
    moved: float  # median |Δ ln σ| over all entries

    @property
    def still(self) -> bool:
        return self.moved < _STILL


def posterior(m: MethodRun) -> Posterior | None:
    """Histograms at start and end; None if the method has no Gaussian weights."""
    import numpy as np

    found = _weights(m)
    if not found:
        return None
    log_std = [np.concatenate([w.log_std[when] for w in found]) for when in (0, 1)]
    snr = [np.maximum(np.concatenate([w.snr[when] for w in found]), 1e-3) for when in (0, 1)]
    snr = [np.log10(part) for part in snr]
    plots = [
        _histogram(m, "log-std", "ln σ", log_std, "ln σ"),
        _histogram(m, "snr", "Signal to noise |μ|/σ", snr, "log₁₀ |μ|/σ; at most −3 counts as −3"),
    ]
    return Posterior(m, found, plots, _median(np.concatenate([w.change for w in found])))


def _weights(m: MethodRun) -> list[Weight]:
    import numpy as np

    names = (
        [text(str(name)) for name in np.atleast_1d(m.arrays["weight_names"]).ravel()]
        if m.has("weight_names")
        else []
    )
    densities = m.density()
    found: list[Weight] = []
    while m.has(*(f"{what}_{when}_{len(found)}" for what in ("log_std", "snr") for when in ("start", "end"))):
        number = len(found)
        name = names[number] if number < len(names) else str(number)
        a, b, c, d = (
            _finite(m.arrays[f"{what}_{when}_{number}"])
            for what in ("log_std", "snr")
            for when in ("start", "end")
        )
        if not all(part.size for part in (a, b, c, d)):
            break
        # The n-th entry is the same at start and end in a dense weight only. In a sparse weight the support moves, and
        # all entries start at one σ, so the change is the distance from that σ.
        paired = len(a) == len(b) and densities.get(name, 1.0) >= 1
        change = np.abs(b - (a if paired else np.median(a)))
        found.append(Weight(name, (a, b), (c, d), change))
    return found


def _histogram(m: MethodRun, key: str, title: str, parts: list[np.ndarray], axis: str) -> Plot:
    import numpy as np

    low, high = min(float(p.min()) for p in parts), max(float(p.max()) for p in parts)
    margin = 0.03 * (high - low) + 0.05
    bins = np.linspace(low - margin, high + margin, _BINS)
    start, end = (np.histogram(part, bins)[0].astype(float) for part in parts)

    def paint(axes: Any) -> None:
        # All entries can start at one σ: on a common scale this spike would flatten the other histogram.
        axes.stairs(end / end.max(), bins, fill=True, color=colour(m.number), alpha=0.75, lw=0)
        axes.stairs(start / start.max(), bins, fill=True, color=SOFT, alpha=0.25, lw=0)
        axes.stairs(start / start.max(), bins, color=SOFT, lw=1)
        axes.set(xlabel=axis, yticks=[], ylim=(0, 1.05))
        axes.grid(visible=False)

    label = f"{title} of {m.name} at the start and at the end of training"
    drawn = svg(f"{key}-{m.number}", label, paint, height=220, left=14)
    caption = f"median {_median(parts[0]):.2f} → {_median(parts[1]):.2f}"
    return Plot(title, drawn, caption.replace("-", "\u2212"), m.number)


def density(run: Run) -> Plot | None:
    """Density of each weight, for the sparse methods."""
    sparse = [m for m in run.finished if any(d < 1 for d in m.density().values())]
    if not sparse:
        return None
    every = list(dict.fromkeys(name for m in sparse for name in m.density()))
    layers = every[:_MOST_LAYERS]

    def paint(axes: Any) -> None:
        last = len(sparse) - 1
        for place, m in enumerate(sparse):
            offset = 0.0 if not last else 0.44 * (place / last - 0.5)
            known = [(n, 100 * m.density()[name]) for n, name in enumerate(layers) if name in m.density()]
            y, x = [n + offset for n, _ in known], [d for _, d in known]
            axes.hlines(y, 0, x, color=colour(m.number), lw=1.2, alpha=0.45)
            axes.scatter(x, y, s=22, color=colour(m.number), lw=0, zorder=3)
            for a, b in (
                zip(x, y, strict=True) if not last else ()
            ):  # the labels of several methods would overlap
                axes.annotate(f"{a:.3g} %", (a, b), (6, 0), textcoords="offset points", va="center", size=10)
        axes.set_yticks(range(len(layers)), [_short(name) for name in layers])
        axes.set_ylim(len(layers) - 0.4, -0.6)
        axes.set_xlim(0, 1.16 * max(100 * d for m in sparse for d in m.density().values()) or 1)
        axes.grid(visible=False)
        axes.set_xlabel("density: % of the entries that exist")

    left = 18 + 6.4 * max(len(_short(name)) for name in layers)
    height = max(236.0, 60 + len(layers) * (14 + 8 * (len(sparse) - 1)))
    label = f"Density of each weight of {', '.join(m.name for m in sparse)}"
    drawn = svg("density", label, paint, left=left, height=height)
    dense = [m.name for m in run.finished if m not in sparse]
    parts = [f"{', '.join(dense)}: 100 %"] if dense else []
    parts += [f"the first {len(layers)} of {len(every)}"] if len(layers) < len(every) else []
    return Plot("Density per layer", drawn, "; ".join(parts))


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST // 2 - 1]}…{name[-_LONGEST // 2 :]}"


def _finite(values: np.ndarray) -> np.ndarray:
    import numpy as np

    values = values.astype(float).ravel()
    return values[np.isfinite(values)]


def _median(values: np.ndarray) -> float:
    import numpy as np

    return float(np.median(values))
