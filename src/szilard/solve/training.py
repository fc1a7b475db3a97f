"""Training of learned solvers: layer by layer, or all layers at once; validated on samples apart.

Chen, Liu, Wang and Yin 2018 train layer by layer: first the new layer, then all layers so far with a smaller learning
rate, then with a smaller one still. Here a search finds the numbers of each new layer first.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from szilard.errors import SzilardError, SzilardWarning
from szilard.solve.fista import FISTA
from szilard.solve.learned import Learned
from szilard.solve.scalar_search import search
from szilard.solve.state import State
from szilard.solve.training_data import Batch, Data, Loss

SCHEDULES = ("joint", "layerwise")
STAGES = (1.0, 0.2, 0.02)  # of the learning rate
SHARES = (0.5, 0.3, 0.2)  # of the steps
OLDER = 0.3  # learning rate of a layer relative to that of the layer after it, layer by layer
TENSORS = 0.1  # learning rate of a tensor relative to that of a number, both in units of their size
CHECKS = 12  # validations of a stage
PATIENCE = 5  # validations without a gain that end a stage
LARGEST_GRADIENT = 1.0  # norm over all parameters, in units of their size
FISTA_PENALTIES = (0.3, 0.1, 0.03, 0.01, 0.003)  # of the λ above which x is 0


@dataclass(frozen=True)
class Progress:
    """Where a training is, for a progress callback."""

    layer: int  # how many layers are trained
    stage: int  # 0: search; 1, 2, 3: gradients
    step: int  # of all so far
    loss: float  # of the validation set


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
        """The validation loss in dB, for codes that were known."""
        return 10 / math.log(10) * self.loss


def train(
    solver: Learned,
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
    if not isinstance(solver, Learned):
        raise SzilardError(f"{getattr(solver, 'name', type(solver).__name__)} has nothing to train; call it")
    schedule = _checked(solver, schedule, steps, batch, validation)
    found = Data(solver, data, validation, seed)
    if (found.apart.codes is None) != (penalty is not None):
        raise SzilardError(
            "penalty is for measurements without codes, which need it as the λ of ½‖b - A x‖² + λ‖x‖₁; "
            "give either codes or penalty"
        )
    loss = Loss(solver, logarithm, penalty)
    before = solver.training
    flags = [parameter.requires_grad for parameter in solver.parameters()]
    run = _Run(solver, found, loss, batch, learning_rate or solver.learning_rate, progress)
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
    control = _fista(solver, found.apart, loss)
    report = Report(reached, control, run.step, seed, schedule, found.words)
    solver.training_report = asdict(report)
    if control < reached:
        warnings.warn(
            f"after training, {solver.name} is worse on {len(found.apart.b)} samples apart than {solver.layers} "
            f"iterations of FISTA (loss {reached:.3g} and {control:.3g}); train with more steps, or take fista",
            SzilardWarning,
            stacklevel=2,
        )
    return report


def _checked(solver: Learned, schedule: str | None, steps: int, batch: int, validation: int) -> str:
    schedule = solver.schedule if schedule is None else schedule
    if schedule not in SCHEDULES:
        raise SzilardError(f"schedule={schedule!r}; give one of {', '.join(SCHEDULES)}")
    for name, value, least in (("steps", steps, 0), ("batch", batch, 1), ("validation", validation, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise SzilardError(f"{name}={value!r}; give a whole number of at least {least}")
    if not solver.layers:
        raise SzilardError(f"{solver.name} has no layers; make one with layers=16")
    return schedule


class _Run:
    """One training."""

    def __init__(
        self,
        solver: Learned,
        data: Data,
        loss: Loss,
        batch: int,
        rate: float,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self.solver, self.data, self.loss, self.batch, self.rate = solver, data, loss, batch, rate
        self.progress = progress or (lambda _: None)
        self.step = 0

    # -- schedules ----------------------------------------------------------------------------------------

    def joint(self, steps: int) -> None:
        """The search for each layer in turn, then all layers at once."""
        batch = self.data.draw(4 * self.batch)
        state = self.solver.init(batch.b)
        for layer in range(self.solver.layers):
            state = search(self.solver, layer, state, batch, self.loss)
        layers = self.solver.layers
        self.progress(Progress(layers, 0, 0, self.validate()))
        everything = [(one, 1.0) for one in self._parameters(range(layers))]
        for stage, share in enumerate(SHARES):
            self._stage(everything, layers, 0, stage, round(steps * share))

    def layerwise(self, steps: int) -> None:
        """The search for a layer, the layer alone, then all layers so far; layer by layer."""
        layers = self.solver.layers
        for layer in range(layers):
            batch = self.data.draw(4 * self.batch)
            search(self.solver, layer, self._before(batch, layer), batch, self.loss)
            self.progress(Progress(layer + 1, 0, self.step, self.validate(layer + 1)))
            budget = steps * (layer + 1) // layers - steps * layer // layers
            shared = [(one, 1.0) for one in self.solver.shared_parameters()]
            new = [(one, 1.0) for one in self.solver.layer_parameters(layer)]
            so_far = shared + [
                (one, OLDER ** (layer - older))
                for older in range(layer + 1)
                for one in self.solver.layer_parameters(older)
            ]
            for stage, share in enumerate(SHARES):
                rates = (new if layer and new else so_far) if stage == 0 else so_far
                fixed = layer if stage == 0 and layer and new else 0
                self._stage(rates, layer + 1, fixed, stage, round(budget * share))

    # -- steps --------------------------------------------------------------------------------------------

    def _stage(
        self, rates: list[tuple[nn.Parameter, float]], layers: int, fixed: int, stage: int, steps: int
    ) -> None:
        """Adam on the loss after ``layers`` layers, of which the first ``fixed`` need no gradient."""
        if not steps:
            return
        for parameter in self.solver.parameters():
            parameter.requires_grad_(False)
        for parameter, _ in rates:
            parameter.requires_grad_(True)
        sizes = [float(one.detach().square().mean().sqrt()) or 1.0 for one, _ in rates]
        optimizer = torch.optim.Adam(
            [
                {
                    "params": [one],
                    "lr": self.rate * STAGES[stage] * scale * size * (TENSORS if one.ndim else 1.0),
                }
                for (one, scale), size in zip(rates, sizes, strict=True)
            ]
        )
        best, kept, waited = self.validate(layers), self.values(), 0
        every = max(1, steps // CHECKS)
        for number in range(1, steps + 1):
            batch = self.data.draw(self.batch)
            value = self.loss(self._after(batch, layers, fixed), batch)
            optimizer.zero_grad()
            value.backward()
            self._clip(rates, sizes)
            optimizer.step()
            self.step += 1
            if number % every and number != steps:
                continue
            found = self.validate(layers)
            self.progress(Progress(layers, stage + 1, self.step, found))
            if found < best:
                best, kept, waited = found, self.values(), 0
            else:
                waited += 1
                if waited >= PATIENCE:
                    break
        self.restore(kept)

    @staticmethod
    def _clip(rates: list[tuple[nn.Parameter, float]], sizes: list[float]) -> None:
        """Limit the gradient's norm, each parameter in units of its size; drop one that is not finite."""
        gradients = [
            (one.grad, size) for (one, _), size in zip(rates, sizes, strict=True) if one.grad is not None
        ]
        norm = math.sqrt(sum(float(gradient.square().sum()) * size**2 for gradient, size in gradients))
        factor = min(1.0, LARGEST_GRADIENT / norm) if 0 < norm < math.inf else 0.0
        for gradient, _ in gradients:
            if factor == 0:
                gradient.zero_()
            elif factor < 1:
                gradient.mul_(factor)

    def _before(self, batch: Batch, layers: int) -> State:
        with torch.no_grad():
            state = self.solver.init(batch.b)
            for _ in range(layers):
                state = self.solver.step(state)
        return state

    def _after(self, batch: Batch, layers: int, fixed: int) -> State:
        state = self._before(batch, fixed)
        for _ in range(layers - fixed):
            state = self.solver.step(state)
        return state

    def validate(self, layers: int | None = None) -> float:
        """The loss on the validation set after some layers.

        Raises:
            SzilardError: if it is not finite.
        """
        layers = self.solver.layers if layers is None else layers
        found = float(self.loss(self._before(self.data.apart, layers), self.data.apart))
        if not math.isfinite(found):
            raise SzilardError(
                f"the training of {self.solver.name} diverged after {self.step} steps, and its parameters are as "
                f"before; train with a smaller learning_rate than {self.rate:g}"
            )
        return found

    # -- parameters ---------------------------------------------------------------------------------------

    def _parameters(self, layers: range) -> Iterator[nn.Parameter]:
        yield from self.solver.shared_parameters()
        for layer in layers:
            yield from self.solver.layer_parameters(layer)

    def values(self) -> list[torch.Tensor]:
        """Copies of all parameters."""
        return [one.detach().clone() for one in self.solver.parameters()]

    def restore(self, values: list[torch.Tensor]) -> None:
        """Undo changes since :meth:`values`."""
        with torch.no_grad():
            for one, value in zip(self.solver.parameters(), values, strict=True):
                one.copy_(value)


def _fista(solver: Learned, apart: Batch, loss: Loss) -> float:
    """The loss of FISTA on the validation set, with as many iterations."""
    with torch.no_grad():
        state = solver.init(apart.b)
        most = float(solver.operator.adjoint(-state.residual).abs().amax(1).mean())
        penalties = [most * share for share in FISTA_PENALTIES] if loss.penalty is None else [loss.penalty]
        found = []
        for penalty in penalties:
            control = FISTA(solver.operator, penalty, solver.layers)
            found.append(float(loss(control(apart.b), apart)))
    return min(found)
