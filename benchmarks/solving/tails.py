"""The guard: how many steps conjugate gradients take on a known support, and which answers are certified wrongly."""

from __future__ import annotations

from typing import Any
from unittest import mock

import torch

from solving import problems
from solving.ablation import Numbers
from solving.judging import judged
from solving.problems import DENSITY, LAYERS, Problem, Settings
from szilard.solve import CodePrior, Guard, HyperLISTA, support
from szilard.solve.samples import error_db

Row = dict[str, Any]
#: From easy to hopeless: with 250 measurements no method finds codes of a density of .4.
CASES = {
    "density .05": CodePrior(0.05),
    "density .1": CodePrior(DENSITY),
    "density .15": CodePrior(0.15),
    "density .2": CodePrior(0.2),
    "density .3": CodePrior(0.3),
    "density .4": CodePrior(0.4),
    "SNR 40 dB": CodePrior(DENSITY, snr=40.0),
    "SNR 20 dB": CodePrior(DENSITY, snr=20.0),
    "density .3, SNR 20 dB": CodePrior(0.3, snr=20.0),
}
_EXACT_DB = -80.0  # a certified answer without noise is at least as good
_ABOVE_NOISE_DB = 10.0  # with noise, its error is at most this far above the noise
_RELATIVE = 1e-10  # error to which steps of conjugate gradients are counted
_MOST_STEPS = 40


def measured(settings: Settings, seed: int, numbers: Numbers) -> list[Row]:
    """A row for each kind of codes, in float64."""
    A = problems.gaussian(problems.M, problems.N, seed)
    rows = []
    for name, prior in CASES.items():
        known = problems.problem(
            A, settings.judged, seed, prior=prior, dtype=torch.float64, device=settings.device
        )
        solver = HyperLISTA(known.A, LAYERS, numbers)
        answer = Guard(solver, snr=prior.snr)(known.b)
        own = error_db(answer.x, known.x)
        limit = _EXACT_DB if prior.snr is None else _ABOVE_NOISE_DB - prior.snr
        by_support = torch.tensor([kind == "support" for kind in answer.certificate], device=own.device)
        steps = cg_steps(solver, known) if name == "density .1" else None
        rows.append({
            "seed": seed, "case": name, "by_support": int(by_support.sum()),
            "by_lasso": sum(kind == "lasso" for kind in answer.certificate),
            "uncertified": sum(kind == "none" for kind in answer.certificate),
            "false_accepts": int((by_support & ~(own <= limit)).sum()),
            "cg_steps": None if steps is None else int(steps.max()),
            "cg_steps_median": None if steps is None else int(steps.median()),
            **judged(answer.x, known.x),
        })  # fmt: skip
    return rows


@torch.no_grad()
def cg_steps(solver: HyperLISTA, known: Problem) -> torch.Tensor:
    """Steps to a relative error of 1e-10 from the last layer, of samples whose support has all true entries."""
    x = solver(known.b).x
    whole = ((x != 0) | (known.x == 0)).all(1)
    x, b, truth = x[whole], known.b[whole], known.x[whole]
    fits = support.Supports(solver.operator)
    needed = torch.full((len(x),), _MOST_STEPS + 1)
    for steps in range(_MOST_STEPS + 1):
        with mock.patch.object(support, "_STEPS", steps):
            z = fits.fit(x, b).z
        near = ((z - truth).norm(dim=1) <= _RELATIVE * truth.norm(dim=1)).cpu()
        needed = torch.where(near & (needed > _MOST_STEPS), steps, needed)
        if bool((needed <= _MOST_STEPS).all()):
            break
    return needed
