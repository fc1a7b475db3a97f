"""One training: its schedules and its steps of Adam."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from szilard.errors import SzilardError
from szilard.solve.scalar_search import search
from szilard.solve.state import State
from szilard.solve.training_data import Batch, Data, Loss
from szilard.solve.unrolled import Unrolled

STAGES = (1.0, 0.2, 0.02)  # of the learning rate
SHARES = (0.5, 0.3, 0.2)  # of the steps
OLDER = 0.3  # learning rate of a layer relative to that of the layer after it, layer by layer
TENSORS = 0.1  # learning rate of a tensor relative to that of a number, both in units of their size
CHECKS = 12  # validations of a stage
PATIENCE = 5  # validations without a gain that end a stage
LARGEST_GRADIENT = 1.0  # norm over all parameters, in units of their size


@dataclass(frozen=True)
class Progress:
    """Where a training is, for a progress callback."""

    layer: int  # how many layers are trained
    stage: int  # 0: search; 1, 2, 3: gradients
    step: int  # of all so far
    loss: float  # of the validation set


class Run:
    """One training.

    Args:
        solver: whose parameters are changed.
        data: batches and the validation set.
        loss: that is minimised.
        judge: the loss by which candidates and validation are judged.
        batch: samples of a step.
        rate: learning rate.
        progress: called after each validation.
    """

    def __init__(
        self,
        solver: Unrolled,
        data: Data,
        loss: Loss,
        judge: Loss,
        batch: int,
        rate: float,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self.solver, self.data, self.batch, self.rate = solver, data, batch, rate
        self.loss, self.judge = loss, judge
        self.progress = progress or (lambda _: None)
        self.step = 0

    # -- schedules ----------------------------------------------------------------------------------------

    def joint(self, steps: int) -> None:
        """The search for each layer in turn, then all layers at once."""
        batch = self.data.draw(4 * self.batch)
        state = self.solver.init(batch.b)
        for layer in range(self.solver.layers):
            state = search(self.solver, layer, state, batch, self.judge)
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
            search(self.solver, layer, self._before(batch, layer), batch, self.judge)
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
        found = float(self.judge(self._before(self.data.apart, layers), self.data.apart))
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

    def values(self) -> list[Tensor]:
        """Copies of all parameters, and of the buffers that a training sets."""
        return [one.detach().clone() for one in self._own()]

    def _own(self) -> list[Tensor]:
        return [*self.solver.parameters(), *self.solver.buffers(recurse=False)]

    def restore(self, values: list[Tensor]) -> None:
        """Undo changes since :meth:`values`."""
        with torch.no_grad():
            for one, value in zip(self._own(), values, strict=True):
                one.copy_(value)
