"""Training of learned solvers: layer by layer, or all layers at once; validated on samples apart.

Chen, Liu, Wang and Yin 2018 train layer by layer: first the new layer, then all layers so far with a smaller learning
rate, then with a smaller one still. Here a search finds the numbers of each new layer first.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from szilard.errors import SzilardError, SzilardWarning
from szilard.solve.fista import FISTA
from szilard.solve.training_data import Batch, Data, Loss
from szilard.solve.training_run import Progress, Run
from szilard.solve.unrolled import Unrolled, positive

SCHEDULES = ("joint", "layerwise")
FISTA_PENALTIES = (0.3, 0.1, 0.03, 0.01, 0.003)  # of the λ above which x is 0


@dataclass(frozen=True)
class Report:
    """What a training reached.

    Attributes:
        loss: on the validation set: the logarithm of Σ‖x - x*‖² / Σ‖x*‖², or the objective as a share of that of 0.
        fista: the same of FISTA with as many iterations and the best of five penalties.
        steps: of Adam that were done.
        seed: of the training.
        schedule: "joint" or "layerwise".
        data: what it was trained on, in words.
    """

    loss: float
    fista: float
    steps: int
    seed: int
    schedule: str
    data: str

    @property
    def decibels(self) -> float:
        """The validation loss in dB; it has a meaning if codes were known."""
        return 10 / math.log(10) * self.loss


def train(
    solver: Unrolled,
    data: Any,
    *,
    seed: int = 0,
    steps: int = 1500,
    schedule: str | None = None,
    batch: int = 64,
    learning_rate: float | None = None,
    validation: int = 512,
    penalty: float | None = None,
    logarithm: bool = True,
    progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Train a solver's parameters in place; the best on the validation set are kept.

    The result depends on the seed and the number of threads, and not on time.

    Args:
        solver: a learned one.
        data: a :class:`~szilard.solve.samples.CodePrior`, of which every batch is drawn anew; a pair of codes
            ``[N, n]`` and measurements ``[N, m]``; or measurements alone, for which the loss is
            ½‖b - A x‖² + λ‖x‖₁.
        seed: of draws and order.
        steps: of Adam, at most; 0 does the search for each layer's numbers alone.
        schedule: "joint", all layers at once, or "layerwise"; None: the algorithm's own.
        batch: samples of a step.
        learning_rate: of Adam, relative to the size of each number, and a tenth of it for tensors, relative to the
            root mean square of their entries; None: the algorithm's own.
        validation: samples of the validation set, at most a fifth of given ones.
        penalty: λ, for measurements without codes.
        logarithm: minimise the logarithm of the relative squared error, instead of itself.
        progress: called after each validation.

    Raises:
        SzilardError: for bad options or data, or if parameters do not stay finite.
    """
    if not isinstance(solver, Unrolled):
        raise SzilardError(f"{getattr(solver, 'name', type(solver).__name__)} has nothing to train; call it")
    schedule = _checked(solver, schedule, steps, batch, validation)
    found = Data(solver, data, validation, seed)
    if (found.apart.codes is None) != (penalty is not None):
        raise SzilardError(
            "penalty is for measurements without codes, which need it as the λ of ½‖b - A x‖² + λ‖x‖₁; "
            "give either codes or penalty"
        )
    judge = Loss(solver, True, penalty)
    rate = positive(solver.learning_rate if learning_rate is None else learning_rate, "learning_rate")
    before = solver.training
    flags = [parameter.requires_grad for parameter in solver.parameters()]
    run = Run(solver, found, Loss(solver, logarithm, penalty), judge, batch, rate, progress)
    kept = run.values()
    try:
        solver.train()
        solver.prepare_training(found.draw(batch).b)
        (run.joint if schedule == "joint" else run.layerwise)(steps)
        reached = run.validate()
    except BaseException:
        run.restore(kept)
        raise
    finally:
        solver.train(before)
        for parameter, flag in zip(solver.parameters(), flags, strict=True):
            parameter.requires_grad_(flag)
            parameter.grad = None
    control = _fista(solver, found.apart, judge)
    report = Report(reached, control, run.step, seed, schedule, found.words)
    solver.training_report = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in asdict(report).items()
    }
    if control < reached:
        warnings.warn(
            f"after training, {solver.name} is worse on {len(found.apart.b)} samples apart than {solver.layers} "
            f"iterations of FISTA (loss {reached:.3g} and {control:.3g}); train with more steps, or take fista",
            SzilardWarning,
            stacklevel=2,
        )
    return report


def _checked(solver: Unrolled, schedule: str | None, steps: int, batch: int, validation: int) -> str:
    schedule = solver.schedule if schedule is None else schedule
    if schedule not in SCHEDULES:
        raise SzilardError(f"schedule={schedule!r}; give one of {', '.join(SCHEDULES)}")
    for name, value, least in (("steps", steps, 0), ("batch", batch, 1), ("validation", validation, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise SzilardError(f"{name}={value!r}; give a whole number of at least {least}")
    if not solver.layers:
        raise SzilardError(f"{solver.name} has no layers; make one with layers=16")
    return schedule


@torch.no_grad()
def _fista(solver: Unrolled, apart: Batch, judge: Loss) -> float:
    """The loss of FISTA on the validation set, with as many iterations."""
    given = solver.given[0]
    most = float(given.adjoint(apart.b.to(given.device, given.dtype)).abs().amax(1).mean())
    penalties = [most * share for share in FISTA_PENALTIES] if judge.penalty is None else [judge.penalty]
    found = []
    for penalty in penalties:
        state = FISTA(given, penalty, solver.layers)(apart.b)
        found.append(float(judge.of(state.x.to(apart.b), state.residual.to(apart.b), apart)))
    return min(found)
