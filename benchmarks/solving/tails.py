"""The guard: which answers are certified, which of them wrongly, and how many steps conjugate gradients take."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from solving import problems
from solving.ablation import Numbers
from solving.judging import judged
from solving.problems import DENSITY, LAYERS, Settings
from szilard.solve import CodePrior, Guard, HyperLISTA
from szilard.solve.samples import error_db

Row = dict[str, Any]
#: From easy to hopeless: from 250 measurements no method finds codes of a density of .4.
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
_FEWER = 4  # samples than elsewhere: those that fall back take long
STANDARD = "density .1"  # of the steps
_EXACT_DB = -200.0  # without noise a certified answer is at least as good: a relative error of 1e-10
_ABOVE_NOISE_DB = 10.0  # with noise, its error is at most this far above the noise


def measured(settings: Settings, seed: int, numbers: Numbers) -> list[Row]:
    """A row for each kind of codes, in float64."""
    A = problems.gaussian(problems.M, problems.N, seed)
    rows = []
    for name, prior in CASES.items():
        known = problems.problem(
            A, settings.judged // _FEWER, seed, prior=prior, dtype=torch.float64, device=settings.device
        )
        guard = Guard(HyperLISTA(known.A, LAYERS, numbers), snr=prior.snr)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # samples without a certificate are counted
            answer = guard(known.b)
        supported = torch.tensor([kind == "support" for kind in answer.certificate])
        own = error_db(answer.x, known.x).cpu()
        limit = _EXACT_DB if prior.snr is None else _ABOVE_NOISE_DB - prior.snr
        steps = answer.cg_steps.cpu()[supported]
        rows.append({
            "seed": seed, "case": name, "by_support": answer.counts["support"], "by_lasso": answer.counts["lasso"],
            "uncertified": answer.counts["none"], "fallback": answer.counts["fallback"],
            "false_accepts": int((supported & ~(own <= limit)).sum()),
            "cg_steps": int(steps.max()) if len(steps) else None,
            "cg_steps_mean": float(steps.double().mean()) if len(steps) else None,
            **judged(answer.x, known.x),
        })  # fmt: skip
    return rows
