"""HyperLISTA's numbers away from what they were tuned for: other codes, other matrices, a matrix that is not exact."""

from __future__ import annotations

from typing import Any

from solving import classical, problems
from solving.judging import judged
from solving.problems import DENSITY, LAYERS, Settings
from szilard.solve import FISTA, CodePrior, HyperLISTA

Row = dict[str, Any]
SHIFTS = {
    "as tuned": CodePrior(DENSITY),
    "density .05": CodePrior(0.05),
    "density .15": CodePrior(0.15),
    "amplitude 3": CodePrior(DENSITY, amplitude=3.0),
    "SNR 40 dB": CodePrior(DENSITY, snr=40.0),
    "SNR 20 dB": CodePrior(DENSITY, snr=20.0),
}
PERTURBED = "measured by a matrix that differs by 1 %"
_SHARE = 0.01


def shifts(settings: Settings, seed: int, numbers: tuple[float, float, float]) -> list[Row]:
    """A row for each kind of codes: HyperLISTA with numbers of other codes, FISTA with the best λ for these."""
    A = problems.gaussian(problems.M, problems.N, seed)
    rows = []
    for name, prior in SHIFTS.items():
        known = problems.problem(A, settings.judged, seed, prior=prior, device=settings.device)
        fista, setting = classical.best_after(known, LAYERS)
        rows.append({
            "seed": seed, "case": name, "fista_setting": setting,
            "hyperlista": judged(HyperLISTA(known.A, LAYERS, numbers)(known.b).x, known.x),
            "fista16": judged(fista(known.b, layers=LAYERS).x, known.x),
        })  # fmt: skip
    return rows


def matrices(settings: Settings, seed: int, numbers: tuple[float, float, float]) -> list[Row]:
    """A row for each matrix that the numbers were not tuned on, and one for measurements of another matrix than A."""
    rows = []
    for name, A in problems.held_out(seed).items():
        known = problems.problem(A, settings.judged, seed, device=settings.device)
        rows.append(_both(name, known, seed, numbers))
    A = problems.gaussian(problems.M, problems.N, seed)
    true = problems.problem(
        problems.perturbed(A, _SHARE, seed), settings.judged, seed, device=settings.device
    )
    rows.append(_both(PERTURBED, problems.Problem(A.to(true.A), true.x, true.b), seed, numbers))
    return rows


def _both(name: str, known: problems.Problem, seed: int, numbers: tuple[float, float, float]) -> Row:
    fista, setting = classical.best_after(known, LAYERS, FISTA)
    return {
        "seed": seed, "matrix": name, "fista_setting": setting,
        "hyperlista": judged(HyperLISTA(known.A, LAYERS, numbers)(known.b).x, known.x),
        "fista16": judged(fista(known.b, layers=LAYERS).x, known.x),
    }  # fmt: skip
